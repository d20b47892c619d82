/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/log.h"
#include "proxy/sock.h"
#include "proxy/vm_internal.h"
#include "qmp/alloc.h"

void vm_finish(struct vm *vm, bool ok, struct err *err)
{
    vm_done_cb *done = vm->done;

    event_del(vm->timeout);
    vm->done = NULL;
    if (done)
        done(vm->done_arg, ok, err);
}

void instance_free(struct instance *instance)
{
    if (!instance)
        return;
    process_free(instance->process);
    link_free(instance->link);
    free(instance);
}

/* A process is gone and its connection too: only then everything that it said has been read. */
static void instance_gone(struct instance *instance)
{
    struct vm *vm = instance->vm;
    struct err err = ERR_INIT;

    if (instance->process || !instance->link_closed)
        return;
    if (instance == vm->next) {
        vm->next = NULL;
        vm->end_when_ready = false;
        store_forget_next(vm->store);
        if (vm->done && !vm->ending_main) {
            vm_next_failed(vm, instance->status, &err);
            vm->asking = VM_ASKS_NOTHING;
            vm_finish(vm, false, &err);
            err_clear(&err);
        }
        instance_free(instance);
    } else if (vm->ending_main) {
        vm->ending_main = false;
        vm->main = NULL;
        instance_free(instance);
        vm_finish(vm, true, NULL);
    } else if (vm->asking == VM_ASKS_TO_END) {
        vm->main = NULL; /* it has gone by itself */
        instance_free(instance);
    } else if (vm->attach) {
        vm->main = NULL;
        vm->announced = false;
        instance_free(instance);
        vm->ops->detached(vm->arg);
        vm_attach_again(vm);
    } else {
        int status = instance->status;

        vm->main = NULL;
        instance_free(instance);
        vm->ops->ended(vm->arg, status);
    }
}

void instance_exited(void *arg, int status)
{
    struct instance *instance = arg;

    process_free(instance->process);
    instance->process = NULL;
    instance->status = status;
    instance_gone(instance);
}

static void instance_closed(void *arg)
{
    struct instance *instance = arg;

    instance->link_closed = true;
    if (instance == instance->vm->main && vm_renew(instance->vm))
        return;
    link_lose_waiting(instance->link);
    instance_gone(instance);
}

static void instance_ready(void *arg)
{
    struct instance *instance = arg;
    struct vm *vm = instance->vm;

    if (instance != vm->next)
        vm_announce(vm);
    else if (vm->end_when_ready)
        vm_end_main(vm, false, vm->done, vm->done_arg);
    else
        vm_finish(vm, true, NULL);
}

void vm_announce(struct vm *vm)
{
    if (vm->announced)
        return;
    vm->announced = true;
    vm->ops->ready(vm->arg);
}

/* The name of the second socket beside that one. */
static const char *instance_bulk(const char *socket)
{
    return strcmp(socket, STORE_SOCKET) == 0 ? STORE_BULK : STORE_BULK_NEXT;
}

/* QEMU of an earlier proxy may have no second monitor; a foreign one has none. */
static int instance_connect_bulk(void *arg)
{
    struct instance *instance = arg;
    struct err err = ERR_INIT;
    int fd = instance->process
                 ? sock_connect_at(instance->vm->store->run_fd, instance_bulk(instance->socket), &err)
                 : -1;

    err_clear(&err);
    return fd;
}

static void instance_event(void *arg, const char *text, size_t len,
                           const struct message_reply *reply)
{
    struct instance *instance = arg;

    if (instance == instance->vm->main)
        instance->vm->ops->event(instance->vm->arg, text, len, reply);
}

const struct link_ops instance_ops = {
    .ready = instance_ready,
    .event = instance_event,
    .closed = instance_closed,
    .connect_bulk = instance_connect_bulk,
};

struct instance *instance_new(struct vm *vm, const char *socket)
{
    struct instance *instance = alloc_zeroed(1, sizeof(*instance));

    instance->vm = vm;
    instance->socket = socket;
    instance->status = -1;
    return instance;
}

struct monitors {
    int fds[2];                 /* what QEMU listens on */
    char *chardevs[2];
};

static void monitors_close(struct monitors *monitors)
{
    for (size_t i = 0; i < 2; i++) {
        if (monitors->fds[i] >= 0)
            close(monitors->fds[i]);
        free(monitors->chardevs[i]);
    }
}

static bool monitors_listen(struct monitors *monitors, int dirfd, const char *socket,
                            struct err *err)
{
    const char *const names[] = { socket, instance_bulk(socket) };
    static const char *const ids[] = { "qmp-proxy", "qmp-proxy-bulk" };

    *monitors = (struct monitors){ { -1, -1 }, { NULL, NULL } };
    for (size_t i = 0; i < 2; i++) {
        monitors->fds[i] = sock_listen_at(dirfd, names[i], err);
        if (monitors->fds[i] < 0)
            return false;
        monitors->chardevs[i] = alloc_print("socket,id=%s,fd=%d,server=on,wait=off", ids[i],
                                            monitors->fds[i]);
    }
    return true;
}

/* new: argv with the private monitors. */
static char **instance_argv(char *const argv[], const struct monitors *monitors)
{
    size_t n = 0;
    char **out;

    while (argv[n])
        n++;
    out = alloc_zeroed(n + 9, sizeof(*out));
    memcpy(out, argv, n * sizeof(*out));
    out[n++] = (char *)"-chardev";
    out[n++] = monitors->chardevs[0];
    out[n++] = (char *)"-mon";
    out[n++] = (char *)"chardev=qmp-proxy,mode=control";
    out[n++] = (char *)"-chardev";
    out[n++] = monitors->chardevs[1];
    out[n++] = (char *)"-mon";
    out[n++] = (char *)"chardev=qmp-proxy-bulk,mode=control";
    return out;
}

/* new: a process on those listening sockets, that is on record and runs. */
static struct process *instance_run(struct instance *instance, char *const argv[],
                                    const struct monitors *monitors, struct err *err)
{
    char **words = instance_argv(argv, monitors);
    struct process *process = process_new(instance->vm->base, words, monitors->fds, 2,
                                          instance_exited, instance, err);

    enum instance_verdict verdict = process ? instance_record(instance, process, err) : INSTANCE_REFUSED;

    if (process && (verdict == INSTANCE_REFUSED ||
                    !process_run(process, verdict == INSTANCE_UNRECORDED, err))) {
        process_free(process);
        process = NULL;
    }
    free(words);
    return process;
}

struct instance *instance_start(struct vm *vm, const char *socket, char *const argv[],
                                struct err *err)
{
    struct instance *instance = instance_new(vm, socket);
    int dirfd = vm->store->run_fd, fd = -1;
    struct monitors monitors;

    if (monitors_listen(&monitors, dirfd, socket, err))
        fd = sock_connect_at(dirfd, socket, err);
    if (fd >= 0)
        instance->process = instance_run(instance, argv, &monitors, err);
    monitors_close(&monitors);
    if (!instance->process) {
        if (fd >= 0)
            close(fd);
        (strcmp(socket, STORE_SOCKET) == 0 ? store_forget_process : store_forget_next)(vm->store);
        free(instance);
        return NULL;
    }
    instance->link = link_new(vm->base, fd, &instance_ops, instance);
    return instance;
}

static void vm_timeout_cb(evutil_socket_t fd, short what, void *arg)
{
    struct vm *vm = arg;

    (void)fd;
    (void)what;
    if (vm->patient) {
        log_warn("QEMU has not answered since its start: waiting on, as it is all that is left of the VM");
        return;
    }
    log_warn("the second QEMU does not answer: ending it");
    vm->overdue = true;
    if (vm->next && vm->next->process)
        process_signal(vm->next->process, SIGKILL);
}

struct vm *vm_new(struct event_base *base, struct store *store, const json_t *user_argv,
                  const struct vm_ops *ops, void *arg)
{
    struct vm *vm = alloc_zeroed(1, sizeof(*vm));

    vm->base = base;
    vm->store = store;
    vm->user_argv = json_incref((json_t *)user_argv);
    vm->ops = ops;
    vm->arg = arg;
    vm->timeout = event_new(base, -1, 0, vm_timeout_cb, vm);
    if (!vm->timeout)
        abort();
    return vm;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->next && vm->next->process)
        process_signal(vm->next->process, SIGKILL);
    if (vm->discarding)
        free(vm->done_arg);
    instance_free(vm->next);
    instance_free(vm->main);
    vm_free_room(vm);
    event_free(vm->timeout);
    vm_attach_free(vm->attach);
    json_decref(vm->user_argv);
    free(vm);
}

bool vm_record_main(struct vm *vm, struct err *err)
{
    const struct process *process = vm->main->process;

    return store_write_process(vm->store, process_pid(process), process_start_time(process), vm->user_argv, err);
}

bool vm_start(struct vm *vm, char *const argv[], struct err *err)
{
    if (store_find_place(vm->store, err))
        vm->main = instance_start(vm, STORE_SOCKET, argv, err);
    return vm->main != NULL;
}

void vm_attach_fd(struct vm *vm, int fd)
{
    vm->main = instance_new(vm, NULL);
    vm->main->link = link_new(vm->base, fd, &instance_ops, vm->main);
}

struct link *vm_clients(const struct vm *vm)
{
    return vm->room ? vm_room_link(vm->room) : vm_main(vm);
}

void vm_signal(struct vm *vm, int sig)
{
    if (vm->main && vm->main->process)
        process_signal(vm->main->process, sig);
}

bool vm_has_process(const struct vm *vm)
{
    return vm->main && vm->main->process;
}

long vm_pid(const struct vm *vm)
{
    return vm_has_process(vm) ? (long)process_pid(vm->main->process) : 0;
}

long vm_pid_of_next(const struct vm *vm)
{
    return vm->next && vm->next->process ? (long)process_pid(vm->next->process) : 0;
}

struct link *vm_main(const struct vm *vm)
{
    return vm->main ? vm->main->link : NULL;
}

struct link *vm_next(const struct vm *vm)
{
    return vm->next ? vm->next->link : NULL;
}
