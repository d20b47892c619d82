/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm_internal: what vm.c (instances, main) and vm_next.c (the second QEMU, the switch) share.
 */
#ifndef PROXY_VM_INTERNAL_H
#define PROXY_VM_INTERNAL_H

#include "proxy/process.h"
#include "proxy/vm.h"

struct instance {
    struct vm *vm;
    const char *socket;         /* name in the state folder */
    struct process *process;    /* NULL: attached, or ended */
    struct link *link;
    bool link_closed;
    int status;
};

struct vm {
    struct event_base *base;
    struct store *store;
    json_t *user_argv;
    const struct vm_ops *ops;
    void *arg;
    struct instance *main, *next;
    bool ending_main;
    struct vm_room *room;       /* where commands of clients wait (vm_room.c), or NULL */
    bool discarding;            /* done_arg is vm_discard_next()'s own */
    bool overdue;               /* next is being ended because it does not answer */
    bool end_when_ready;        /* main is to be ended as soon as next answers */
    bool announced;             /* ops->ready() was called */
    vm_done_cb *done;           /* of the one thing that is going on with next or main */
    void *done_arg;
    bool unrecorded;            /* process.json does not tell of main */
    struct event *timeout;
    struct vm_attach *attach;   /* NULL: QEMU is our own */
};

extern const struct link_ops instance_ops;

/* Writes down where the process of an instance (arg) is to be found. */
process_record_fn instance_record;

/* Starts a process and connects to it; the listening socket stays with QEMU alone. */
struct instance *instance_start(struct vm *vm, const char *socket, char *const argv[],
                                struct err *err);

/* new: the process that process.json (or process.next.json) names, connected to; NULL without an error
 * when none lives. */
struct instance *instance_adopt(struct vm *vm, bool next, struct err *err);

/* main is what fd (stolen) is connected to. */
void vm_attach_fd(struct vm *vm, int fd);
/* The foreign QEMU has gone: waits for it to come back. */
void vm_attach_again(struct vm *vm);
void vm_attach_free(struct vm_attach *attach);

/* Our own QEMU has closed its monitor: connects to it again if it is alive.  Else false. */
bool vm_renew(struct vm *vm);

/* Why next has ended before it answered; status: what waitpid() said. */
void vm_next_failed(const struct vm *vm, int status, struct err *err);
void vm_free_room(struct vm *vm);
struct link *vm_room_link(const struct vm_room *room);

/* The clients can be served. */
void vm_announce(struct vm *vm);

#endif
