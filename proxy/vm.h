/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm: the QEMU process that clients talk to, and for a while a second one that is to follow it.
 *
 * Model: an instance is a process (none when attached to a foreign QEMU) with its private monitor,
 * a listening socket in the state folder that QEMU inherits: a proxy that comes later can connect
 * to it again.  "main" is the one that clients see.  "next" loads a snapshot; vm_switch() makes it
 * main once the first has ended.
 */
#ifndef PROXY_VM_H
#define PROXY_VM_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "policy/address.h"
#include "proxy/link.h"
#include "proxy/store.h"
#include "qmp/err.h"

struct vm;

struct vm_ops {
    /* main greeted and negotiated. */
    void (*ready)(void *arg);
    /* An event of main. */
    void (*event)(void *arg, const char *text, size_t len, const struct message_reply *reply);
    /* main has ended and that was not asked for with vm_end_main(); status as of waitpid(), -1:
     * unknown. */
    void (*ended)(void *arg, int status);
    /* The QEMU that we were attached to has gone; ready() comes when it is back. */
    void (*detached)(void *arg);
};

/* ok: what was asked for is so; else err says why not. */
typedef void vm_done_cb(void *arg, bool ok, struct err *err);

struct vm *vm_new(struct event_base *base, struct store *store, const json_t *user_argv,
                  const struct vm_ops *ops, void *arg);
/* Ends next; does not end main. */
void vm_free(struct vm *vm);

/* Starts main.  argv without the private monitor, which is added here. */
bool vm_start(struct vm *vm, char *const argv[], struct err *err);
/* Finds main running; *found says whether there was one.  Fails when that cannot be told. */
bool vm_adopt(struct vm *vm, bool *found, struct err *err);
/* The same for a second QEMU that an earlier proxy had started; ready (may be NULL) is called when it
 * answers.  Of one that has ended nothing stays on record. */
bool vm_adopt_next(struct vm *vm, bool *found, vm_done_cb *ready, void *arg, struct err *err);
/* ready is called when the one that was found answers, which it has not yet. */
void vm_await_next(struct vm *vm, vm_done_cb *ready, void *arg);
/* It is left alone, and on record. */
void vm_leave_next(struct vm *vm);
/* Ends the one that is on record, without connecting to it. */
bool vm_end_stale_next(struct vm *vm, struct err *err);
/* Attaches to a monitor that somebody else's QEMU listens on, now or as soon as it can be connected
 * to, and again whenever it has gone and come back.  the strings of address are
 * stolen. */
void vm_attach(struct vm *vm, const struct address *address);

/* Starts next; done when it has negotiated.  It is ended when that takes too long, unless patient: then it is all
 * that is left of the VM. */
void vm_start_next(struct vm *vm, char *const argv[], bool patient, vm_done_cb *done, void *arg);
/* Ends next, if there is one; done when it is gone. */
void vm_discard_next(struct vm *vm, vm_done_cb *done, void *arg);
/* SIGKILL: QEMU then leaves alone what the next one has taken over; done when it is gone.  Refused when
 * next does not answer, as one that is to follow it has to (vm_ask_next()), unless it is to end alone. */
void vm_end_main(struct vm *vm, bool alone, vm_done_cb *done, void *arg);
/* Does next still answer?  One that does not, in some seconds, is ended. */
void vm_ask_next(struct vm *vm, vm_done_cb *done, void *arg);
/* Is next there to take over?  Else err says that it has ended. */
bool vm_check_next(const struct vm *vm, struct err *err);
/* next becomes main. */
bool vm_switch(struct vm *vm, struct err *err);
/* Would a later proxy find main?  Where the state folder does not say so it is tried again. */
bool vm_settle(struct vm *vm, struct err *err);

/* Commands of clients that main has not seen wait, and so do all that come, for whichever QEMU is main
 * when they are let go: held there by link_hold(), if vm_switch() lets them go. */
void vm_make_room(struct vm *vm);
void vm_leave_room(struct vm *vm);
/* borrowed: where commands of clients go; NULL when there is nothing. */
struct link *vm_clients(const struct vm *vm);

/* Closes the connection to a main of our own and makes it anew, so that QEMU tidies up; false: now it
 * cannot be. */
bool vm_renew_main(struct vm *vm);

void vm_signal(struct vm *vm, int sig);
bool vm_has_process(const struct vm *vm);
long vm_pid(const struct vm *vm);
/* The process of main, of a foreign one as far as its monitor's socket tells who listens there; pid 0: not known. */
void vm_who(const struct vm *vm, long *pid, unsigned long long *start);
/* The second one's; 0: there is none. */
long vm_pid_of_next(const struct vm *vm);

/* borrowed; NULL when there is none. */
struct link *vm_main(const struct vm *vm);
struct link *vm_next(const struct vm *vm);

#endif
