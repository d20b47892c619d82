/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMUs of an earlier proxy are found again, or ended. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/log.h"
#include "proxy/sock.h"
#include "proxy/vm_internal.h"

/* new: the process that process.json (or process.next.json) names, connected to by that socket; NULL without
 * an error when none lives. */
static struct instance *instance_adopt(struct vm *vm, bool next, const char *socket, struct err *err)
{
    struct instance *instance = instance_new(vm, socket);
    json_t *record, *argv;
    int fd;

    if (!store_read_process(vm->store, next, &record, err)) {
        free(instance);
        return NULL;
    }
    instance->process =
        process_adopt(vm->base, (pid_t)json_integer_value(json_object_get(record, "pid")),
                      (unsigned long long)json_integer_value(json_object_get(record, "start")),
                      instance_exited, instance, err);
    argv = json_object_get(record, "argv"); /* of older proxies' second ones there is none */
    if (instance->process && argv && !json_equal(argv, vm->user_argv))
        err_set(err, REASON_WRONG_STATE, "This VM's QEMU (pid %ld) is running with another command "
                "line: end it first, or start the proxy with that command line",
                (long)process_pid(instance->process));
    json_decref(record);
    fd = instance->process && !err->set
             ? sock_connect_at(vm->store->run_fd, instance->socket, err) : -1;
    if (fd < 0) {
        /* It has closed its monitor: it is ending, and soon there is none. */
        if (instance->process && err->reason && strcmp(err->reason, REASON_FILE_UNUSABLE) == 0 &&
            process_wait_end(instance->process))
            err_clear(err);
        instance_free(instance);
        return NULL;
    }
    instance->link = link_new(vm->base, fd, &instance_ops, instance);
    return instance;
}

/* A second QEMU that main's socket leads to has taken over: the proxy died in vm_take_names(), or could not write
 * there. */
static void vm_adopt_switched(struct vm *vm, struct err *err)
{
    struct err nobody = ERR_INIT;
    int fd = sock_connect_at(vm->store->run_fd, STORE_SOCKET, &nobody);

    err_clear(&nobody);
    if (fd < 0)
        return;
    close(fd);
    vm->main = instance_adopt(vm, true, STORE_SOCKET, err);
    if (vm->main)
        vm_take_names(vm);
}

bool vm_adopt(struct vm *vm, bool *found, struct err *err)
{
    vm->main = instance_adopt(vm, false, STORE_SOCKET, err);
    if (vm->main)
        store_tell_pid(vm->store, vm_pid(vm));
    else if (!err->set)
        vm_adopt_switched(vm, err);
    *found = vm->main != NULL;
    return !err->set;
}

/* The pid on record, 0 when there is none. */
static bool vm_next_pid(struct vm *vm, pid_t *pid, struct err *err)
{
    json_t *record;

    if (!store_read_process(vm->store, true, &record, err))
        return false;
    *pid = (pid_t)json_integer_value(json_object_get(record, "pid"));
    json_decref(record);
    return true;
}

/* One that lives and cannot be connected to can follow nobody; where it is all that is left of the VM it stays. */
static bool vm_drop_next(struct vm *vm, struct err *err)
{
    if (!vm->main || strcmp(err->reason, REASON_FILE_UNUSABLE) != 0)
        return false;
    log_warn("%s: ending the second QEMU", err->desc);
    err_clear(err);
    if (!vm_end_stale_next(vm, err))
        return false;
    store_forget_next(vm->store);
    return true;
}

bool vm_adopt_next(struct vm *vm, bool *found, vm_done_cb *ready, void *arg, struct err *err)
{
    pid_t pid;

    *found = false;
    if (!vm_next_pid(vm, &pid, err))
        return false;
    /* The proxy may have died between making it main and forgetting that it was next. */
    if (pid == 0 || pid == vm_pid(vm)) {
        store_forget_next(vm->store);
        return true;
    }
    vm->next = instance_adopt(vm, true, STORE_SOCKET_NEXT, err);
    if (err->set)
        return vm_drop_next(vm, err);
    *found = vm->next != NULL;
    if (vm->next)
        vm_await_next(vm, ready, arg);
    else
        store_forget_next(vm->store);
    return true;
}

void vm_await_next(struct vm *vm, vm_done_cb *ready, void *arg)
{
    vm->done = ready;
    vm->done_arg = arg;
}

void vm_leave_next(struct vm *vm)
{
    instance_free(vm->next);
    vm->next = NULL;
}

bool vm_end_stale_next(struct vm *vm, struct err *err)
{
    json_t *record;

    if (!store_read_process(vm->store, true, &record, err))
        return false;
    process_end_stale((pid_t)json_integer_value(json_object_get(record, "pid")),
                      (unsigned long long)json_integer_value(json_object_get(record, "start")));
    json_decref(record);
    return true;
}
