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

/* How long a second QEMU may take until it answers. */
#define VM_START_TIMEOUT_S 30

void vm_next_failed(const struct vm *vm, int status, struct err *err)
{
    bool killed = WIFSIGNALED(status);

    if (vm->overdue)
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
enum process_verdict instance_record(void *arg, pid_t pid, unsigned long long start_time,
                                     struct err *err)
{
    const struct instance *instance = arg;
    struct vm *vm = instance->vm;
    bool next = strcmp(instance->socket, STORE_SOCKET_NEXT) == 0;

    if (next ? instance_record_next(vm, pid, start_time, err)
             : instance_record_main(vm, pid, start_time, err))
        return PROCESS_RECORDED;
    if (next && vm->main)
        return PROCESS_REFUSED;
    log_error("%s: QEMU ends with the proxy", err->desc);
    err_clear(err);
    return PROCESS_UNRECORDED;
}

void vm_start_next(struct vm *vm, char *const argv[], vm_done_cb *done, void *arg)
{
    struct timeval limit = { .tv_sec = VM_START_TIMEOUT_S };
    struct err err = ERR_INIT;

    store_sweep_aside(vm->store);
    vm->overdue = false;
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

/* The pid on record, 0 when there is none. */
static pid_t vm_next_pid(struct vm *vm)
{
    struct err err = ERR_INIT;
    json_t *record = NULL;
    pid_t pid = 0;

    if (store_read_process(vm->store, true, &record, &err) && record)
        pid = (pid_t)json_integer_value(json_object_get(record, "pid"));
    err_clear(&err);
    json_decref(record);
    return pid;
}

enum world_next vm_adopt_next(struct vm *vm, vm_done_cb *ready, void *arg)
{
    struct err err = ERR_INIT;
    pid_t pid = vm_next_pid(vm);

    /* The proxy may have died between making it main and forgetting that it was next. */
    if (pid == 0 || pid == vm_pid(vm)) {
        store_forget_next(vm->store);
        return WORLD_NEXT_NONE;
    }
    vm->next = instance_adopt(vm, true, &err);
    if (err.set)
        log_warn("%s", err.desc);
    err_clear(&err);
    if (!vm->next)
        return WORLD_NEXT_GONE;
    vm->done = ready;
    vm->done_arg = arg;
    return WORLD_NEXT_ALIVE;
}

void vm_end_stale_next(struct vm *vm)
{
    struct err err = ERR_INIT;
    json_t *record = NULL;

    if (store_read_process(vm->store, true, &record, &err) && record)
        process_end_stale((pid_t)json_integer_value(json_object_get(record, "pid")),
                          (unsigned long long)json_integer_value(json_object_get(record, "start")));
    json_decref(record);
    err_clear(&err);
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
    discard = malloc(sizeof(*discard));
    if (!discard)
        abort();
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

void vm_end_main(struct vm *vm, bool alone, vm_done_cb *done, void *arg)
{
    struct timeval limit = { .tv_sec = VM_START_TIMEOUT_S };
    struct err err = ERR_INIT;

    vm->end_when_ready = false;
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
    vm->done = NULL;
    if (!alone && !vm_check_next(vm, &err)) {
        done(arg, false, &err);
        err_clear(&err);
        return;
    }
    vm->ending_main = true;
    vm->done = done;
    vm->done_arg = arg;
    if (vm->main->process)
        process_signal(vm->main->process, SIGKILL);
}

static void vm_rename(struct vm *vm, const char *from, const char *to)
{
    if (renameat(vm->store->run_fd, from, vm->store->run_fd, to) < 0 && errno != ENOENT)
        log_warn("cannot rename %s", from);
}

/* The files that told of next tell of main: for that no room is needed. */
static bool vm_promote(struct vm *vm, struct err *err)
{
    vm_rename(vm, STORE_SOCKET_NEXT, STORE_SOCKET);
    vm_rename(vm, STORE_BULK_NEXT, STORE_BULK);
    vm->unrecorded = !store_promote_next(vm->store, err);
    /* Where it could not be done they are how a later proxy finds it. */
    if (!vm->unrecorded)
        store_forget_next(vm->store);
    return !vm->unrecorded;
}

bool vm_switch(struct vm *vm, struct err *err)
{
    struct err warn = ERR_INIT;

    if (!vm_check_next(vm, err))
        return false;
    vm->main = vm->next;
    vm->next = NULL;
    if (vm->room)
        link_hold(vm->main->link, true);
    vm_leave_room(vm);
    vm->main->socket = STORE_SOCKET;
    /* The VM goes on whatever happens here; vm_settle() tries again. */
    if (!vm_promote(vm, &warn))
        log_warn("%s", warn.desc);
    err_clear(&warn);
    vm_announce(vm);
    return true;
}

bool vm_settle(struct vm *vm, struct err *err)
{
    struct err first = ERR_INIT;

    if (!vm->unrecorded || !vm_has_process(vm))
        return true;
    if (!vm_promote(vm, &first) &&
        store_write_process(vm->store, process_pid(vm->main->process),
                            process_start_time(vm->main->process), vm->user_argv, err)) {
        vm->unrecorded = false;
        store_forget_next(vm->store);
    }
    err_clear(&first);
    return !vm->unrecorded;
}
