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
    bool patient;               /* it is not */
    bool end_when_ready;        /* main is to be ended as soon as next has greeted */
    enum { VM_ASKS_NOTHING, VM_ASKS, VM_ASKS_TO_END } asking; /* next, and is main to be ended behind it */
    bool announced;             /* ops->ready() was called */
    vm_done_cb *done;           /* of the one thing that is going on with next or main */
    void *done_arg;
    bool unrecorded;            /* process.json does not tell of main */
    struct event *timeout;
    struct vm_attach *attach;   /* NULL: QEMU is our own */
};

extern const struct link_ops instance_ops;

/* The one thing that was going on is done. */
void vm_finish(struct vm *vm, bool ok, struct err *err);

/* What became of writing down where a process is to be found, should the proxy die. */
enum instance_verdict {
    INSTANCE_REFUSED,       /* it must not be: err says why */
    INSTANCE_RECORDED,
    INSTANCE_UNRECORDED     /* nobody would find it: it is to end when the proxy does */
};

enum instance_verdict instance_record(const struct instance *instance, const struct process *process,
                                      struct err *err);

/* Starts a process, on record before it runs, and connects to it; the listening socket stays with QEMU alone. */
struct instance *instance_start(struct vm *vm, const char *socket, char *const argv[],
                                struct err *err);

/* new: one without a process; socket: its name in the state folder, borrowed. */
struct instance *instance_new(struct vm *vm, const char *socket);
void instance_free(struct instance *instance);
/* Its process has ended (process_exited_cb). */
void instance_exited(void *arg, int status);

/* main is what fd (stolen) is connected to. */
void vm_attach_fd(struct vm *vm, int fd);
/* The foreign QEMU has gone: waits for it to come back. */
void vm_attach_again(struct vm *vm);
void vm_attach_free(struct vm_attach *attach);

/* Our own QEMU has closed its monitor: connects to it again if it is alive.  Else false. */
bool vm_renew(struct vm *vm);

/* Why next has ended before it answered, or took over; status: what waitpid() said. */
void vm_next_failed(const struct vm *vm, int status, struct err *err);
void vm_free_room(struct vm *vm);
struct link *vm_room_link(const struct vm_room *room);

/* The clients can be served. */
void vm_announce(struct vm *vm);

/* What the state folder calls next is main: the sockets first, by which a later proxy finds it (vm_adopt()) should
 * this proxy die before the record, or no record be writable.  The VM goes on whatever happens here. */
void vm_take_names(struct vm *vm);

/* Says in the state folder which process main is. */
bool vm_record_main(struct vm *vm, struct err *err);

#endif
