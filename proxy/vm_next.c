/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The second QEMU: started, thrown away, or made the first. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "policy/reason.h"
#include "proxy/log.h"
#include "proxy/vm_internal.h"
#include "qmp/alloc.h"

/* How long a second QEMU may take until it answers. */
#define VM_START_TIMEOUT_S 30
/* And until it answers once more, right before it takes over: the guest stands still. */
#define VM_ANSWER_TIMEOUT_S 3

void vm_next_failed(const struct vm *vm, int status, struct err *err)
{
    bool killed = WIFSIGNALED(status);

    if (vm->asking && vm->overdue)
        err_set(err, REASON_TIMEOUT, "The second QEMU did not answer within %d s when it was to take over",
                VM_ANSWER_TIMEOUT_S);
    else if (vm->asking)
        err_set(err, REASON_QEMU_FAILED, "The second QEMU ended before it could take over");
    else if (vm->overdue)
        err_set(err, REASON_TIMEOUT, "The second QEMU did not answer within %d s of its start",
                VM_START_TIMEOUT_S);
    else
        err_set(err, REASON_QEMU_FAILED, "The second QEMU ended at its start (%s %d): its message is in "
                "the proxy's log", killed ? "signal" : "status",
                killed ? WTERMSIG(status) : WEXITSTATUS(status));
}

static bool instance_record_next(struct vm *vm, pid_t pid, unsigned long long start_time, struct err *err)
{
    if (store_write_next(vm->store, pid, start_time, vm->user_argv, err))
        return true;
    if (vm->main)
        return false;
    /* What tells of the one that has ended takes the room. */
    store_forget_main(vm->store);
    err_clear(err);
    return store_write_next(vm->store, pid, start_time, vm->user_argv, err);
}

static bool instance_record_main(struct vm *vm, pid_t pid, unsigned long long start_time, struct err *err)
{
    /* While a journal waits the next start goes by the files. */
    if (vm->store->unwritten || vm->store->over)
        err_set(err, REASON_NO_SPACE, "What was interrupted is not on record");
    vm->unrecorded = err->set || !store_write_process(vm->store, pid, start_time, vm->user_argv, err);
    return !vm->unrecorded;
}

/* A second QEMU that no file names would be left behind if the proxy died: it is not started.  Where it is
 * the only one the VM is worth more than that, and ends with the proxy. */
enum instance_verdict instance_record(const struct instance *instance, const struct process *process,
                                      struct err *err)
{
    struct vm *vm = instance->vm;
    bool next = strcmp(instance->socket, STORE_SOCKET_NEXT) == 0;
    unsigned long long start = process_start_time(process);
    pid_t pid = process_pid(process);

    if (next ? instance_record_next(vm, pid, start, err)
             : instance_record_main(vm, pid, start, err))
        return INSTANCE_RECORDED;
    if (next && vm->main)
        return INSTANCE_REFUSED;
    log_error("%s: QEMU ends with the proxy", err->desc);
    err_clear(err);
    return INSTANCE_UNRECORDED;
}

void vm_start_next(struct vm *vm, char *const argv[], bool patient, vm_done_cb *done, void *arg)
{
    struct timeval limit = { .tv_sec = VM_START_TIMEOUT_S };
    struct err err = ERR_INIT;

    store_sweep_aside(vm->store);
    vm->overdue = false;
    vm->patient = patient;
    /* Where it is the only one it starts also if the state folder has become unusable meanwhile. */
    if (vm->main || store_find_place(vm->store, &err))
        vm->next = instance_start(vm, STORE_SOCKET_NEXT, argv, &err);
    if (!vm->next) {
        done(arg, false, &err);
        err_clear(&err);
        return;
    }
    vm->done = done;
    vm->done_arg = arg;
    event_add(vm->timeout, &limit);
}

/* instance_gone() reports the end of next as a failure to start; here it is what was wanted. */
struct vm_discard {
    struct vm *vm;
    vm_done_cb *done;
    void *arg;
};

static void vm_discard_done(void *arg, bool ok, struct err *err)
{
    struct vm_discard *discard = arg;

    (void)ok;
    (void)err;
    discard->vm->discarding = false;
    discard->done(discard->arg, true, NULL);
    free(discard);
}

void vm_discard_next(struct vm *vm, vm_done_cb *done, void *arg)
{
    struct vm_discard *discard;

    if (!vm->next) {
        done(arg, true, NULL);
        return;
    }
    discard = alloc_bytes(sizeof(*discard));
    discard->vm = vm;
    discard->done = done;
    discard->arg = arg;
    vm->done = vm_discard_done;
    vm->done_arg = discard;
    vm->discarding = true;
    if (vm->next->process)
        process_signal(vm->next->process, SIGKILL);
}

bool vm_check_next(const struct vm *vm, struct err *err)
{
    const struct process *process = vm->next ? vm->next->process : NULL;

    /* Its end may not have come to the loop yet, and its threads may not all have ended. */
    if (process && link_ready(vm->next->link) &&
        process_read_start_time(process_pid(process)) == process_start_time(process))
        return true;
    err_set(err, REASON_QEMU_FAILED, "The second QEMU ended before it could take over");
    return false;
}

static void vm_end_now(struct vm *vm)
{
    vm->ending_main = true;
    if (vm->main->process)
        process_signal(vm->main->process, SIGKILL);
}

static void vm_answered(void *arg, enum link_answer answer, const char *text, size_t len,
                        const struct message_reply *reply)
{
    struct vm *vm = arg;
    bool end = vm->asking == VM_ASKS_TO_END && vm->main;

    (void)text;
    (void)len;
    (void)reply;
    if (answer == ANSWER_LOST)
        return; /* its end tells, which the time limit brings about if need be */
    event_del(vm->timeout);
    vm->asking = VM_ASKS_NOTHING;
    if (end)
        vm_end_now(vm);
    else
        vm_finish(vm, true, NULL);
}

static void vm_ask(struct vm *vm, bool end, vm_done_cb *done, void *arg)
{
    struct timeval limit = { .tv_sec = VM_ANSWER_TIMEOUT_S };
    struct err err = ERR_INIT;

    vm->done = NULL;
    if (!vm_check_next(vm, &err)) {
        done(arg, false, &err);
        err_clear(&err);
        return;
    }
    vm->asking = end ? VM_ASKS_TO_END : VM_ASKS;
    vm->overdue = vm->patient = false;
    vm->done = done;
    vm->done_arg = arg;
    event_add(vm->timeout, &limit);
    link_send_command(vm->next->link, "query-status", NULL, -1, vm_answered, vm);
}

void vm_ask_next(struct vm *vm, vm_done_cb *done, void *arg)
{
    vm_ask(vm, false, done, arg);
}

void vm_end_main(struct vm *vm, bool alone, vm_done_cb *done, void *arg)
{
    struct timeval limit = { .tv_sec = VM_START_TIMEOUT_S };

    vm->end_when_ready = vm->patient = false;
    event_del(vm->timeout);
    if (!vm->main) {
        done(arg, true, NULL);
        return;
    }
    if (!alone && vm->next && !vm->next->link_closed && !link_ready(vm->next->link)) {
        /* It was found a moment ago, and has not greeted yet. */
        vm->end_when_ready = true;
        vm->done = done;
        vm->done_arg = arg;
        event_add(vm->timeout, &limit);
        return;
    }
    if (!alone) {
        vm_ask(vm, true, done, arg);
        return;
    }
    vm->done = done;
    vm->done_arg = arg;
    vm_end_now(vm);
}

static void vm_rename(struct vm *vm, const char *from, const char *to)
{
    if (renameat(vm->store->run_fd, from, vm->store->run_fd, to) < 0 && errno != ENOENT)
        log_warn("cannot rename %s", from);
}

/* The files that told of next tell of main: for that no room is needed. */
static bool vm_promote(struct vm *vm, struct err *err)
{
    struct err again = ERR_INIT;

    vm_rename(vm, STORE_SOCKET_NEXT, STORE_SOCKET);
    vm_rename(vm, STORE_BULK_NEXT, STORE_BULK);
    vm->unrecorded = !store_promote_next(vm->store, vm_pid(vm), err);
    if (vm->unrecorded && vm_record_main(vm, &again)) {
        err_clear(err);
        vm->unrecorded = false;
    }
    err_clear(&again);
    /* Where it could not be done they are how a later proxy finds it. */
    if (!vm->unrecorded)
        store_forget_next(vm->store);
    return !vm->unrecorded;
}

void vm_take_names(struct vm *vm)
{
    struct err err = ERR_INIT;

    vm->main->socket = STORE_SOCKET;
    /* vm_settle() tries again. */
    if (!vm_promote(vm, &err))
        log_warn("%s", err.desc);
    err_clear(&err);
}

bool vm_switch(struct vm *vm, struct err *err)
{
    if (!vm_check_next(vm, err))
        return false;
    vm->main = vm->next;
    vm->next = NULL;
    if (vm->room)
        link_hold(vm->main->link, true);
    vm_leave_room(vm);
    vm_take_names(vm);
    vm_announce(vm);
    return true;
}

bool vm_settle(struct vm *vm, struct err *err)
{
    return !vm->unrecorded || !vm_has_process(vm) || vm_promote(vm, err);
}
