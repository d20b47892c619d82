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

static void vm_finish(struct vm *vm, bool ok, struct err *err)
{
    vm_done_cb *done = vm->done;

    event_del(vm->timeout);
    vm->done = NULL;
    if (done)
        done(vm->done_arg, ok, err);
}

static void instance_free(struct instance *instance)
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
            vm_finish(vm, false, &err);
            err_clear(&err);
        }
        instance_free(instance);
    } else if (vm->ending_main) {
        vm->ending_main = false;
        vm->main = NULL;
        instance_free(instance);
        vm_finish(vm, true, NULL);
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

static void instance_exited(void *arg, int status)
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

static struct instance *instance_new(struct vm *vm, const char *socket)
{
    struct instance *instance = calloc(1, sizeof(*instance));

    if (!instance)
        abort();
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
        if (asprintf(&monitors->chardevs[i], "socket,id=%s,fd=%d,server=on,wait=off", ids[i],
                     monitors->fds[i]) < 0)
            abort();
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
    out = calloc(n + 9, sizeof(*out));
    if (!out)
        abort();
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

struct instance *instance_start(struct vm *vm, const char *socket, char *const argv[],
                                struct err *err)
{
    struct instance *instance = instance_new(vm, socket);
    int dirfd = vm->store->run_fd, fd = -1;
    struct process_spawning how = {
        .n_fds = 2, .record = instance_record, .exited = instance_exited, .arg = instance,
    };
    struct monitors monitors;
    char **words;

    if (monitors_listen(&monitors, dirfd, socket, err))
        fd = sock_connect_at(dirfd, socket, err);
    how.fds = monitors.fds;
    if (fd >= 0) {
        words = instance_argv(argv, &monitors);
        instance->process = process_spawn(vm->base, words, &how, err);
        free(words);
    }
    monitors_close(&monitors);
    if (!instance->process) {
        if (fd >= 0)
            close(fd);
        unlinkat(dirfd, socket, 0);
        unlinkat(dirfd, instance_bulk(socket), 0);
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
    log_warn("the second QEMU does not answer: ending it");
    vm->overdue = true;
    if (vm->next && vm->next->process)
        process_signal(vm->next->process, SIGKILL);
}

struct vm *vm_new(struct event_base *base, struct store *store, const json_t *user_argv,
                  const struct vm_ops *ops, void *arg)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        abort();
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

bool vm_start(struct vm *vm, char *const argv[], struct err *err)
{
    if (store_find_place(vm->store, err))
        vm->main = instance_start(vm, STORE_SOCKET, argv, err);
    return vm->main != NULL;
}

struct instance *instance_adopt(struct vm *vm, bool next, struct err *err)
{
    struct instance *instance = instance_new(vm, next ? STORE_SOCKET_NEXT : STORE_SOCKET);
    json_t *record;
    int fd;

    if (!store_read_process(vm->store, next, &record, err)) {
        free(instance);
        return NULL;
    }
    instance->process =
        process_adopt(vm->base, (pid_t)json_integer_value(json_object_get(record, "pid")),
                      (unsigned long long)json_integer_value(json_object_get(record, "start")),
                      instance_exited, instance);
    if (instance->process && !next && !json_equal(json_object_get(record, "argv"), vm->user_argv))
        err_set(err, REASON_WRONG_STATE, "This VM's QEMU (pid %ld) is running with another command "
                "line: end it first, or start the proxy with that command line",
                (long)process_pid(instance->process));
    json_decref(record);
    fd = instance->process && !err->set
             ? sock_connect_at(vm->store->run_fd, instance->socket, err) : -1;
    if (fd < 0 && err->set && next && instance->process) {
        /* The proxy died in vm_switch(), between the rename and what it wrote afterwards. */
        err_clear(err);
        instance->socket = STORE_SOCKET;
        fd = sock_connect_at(vm->store->run_fd, instance->socket, err);
    }
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

bool vm_adopt(struct vm *vm, bool *found, struct err *err)
{
    vm->main = instance_adopt(vm, false, err);
    *found = vm->main != NULL;
    return !err->set;
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

struct link *vm_main(const struct vm *vm)
{
    return vm->main ? vm->main->link : NULL;
}

struct link *vm_next(const struct vm *vm)
{
    return vm->next ? vm->next->link : NULL;
}
