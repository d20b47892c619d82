/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that come back: to a foreign QEMU, and to our own when it has closed its monitor. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/sock.h"
#include "proxy/vm_internal.h"
#include "qmp/alloc.h"

/* Between two attempts to connect. */
#define VM_RETRY_MS 200

/* A monitor that serves somebody else accepts, and says nothing. */
#define VM_GREETING_S 5

struct vm_attach {
    struct vm *vm;
    struct address address;     /* strings owned */
    struct event *retry, *greeting;
    bool complained;            /* about this absence */
    long pid;                   /* of who listens, 0: a socket that does not tell */
    unsigned long long start;
};

/* A unix socket remembers who began to listen. */
static void vm_attach_look(struct vm_attach *attach, int fd)
{
    struct ucred peer = { 0 };
    socklen_t len = sizeof(peer);

    attach->pid = 0;
    if (attach->address.kind == ADDRESS_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        attach->pid = peer.pid;
    attach->start = attach->pid ? process_read_start_time((pid_t)attach->pid) : 0;
}

void vm_who(const struct vm *vm, long *pid, unsigned long long *start)
{
    const struct process *process = vm->main ? vm->main->process : NULL;

    *pid = process ? (long)process_pid(process) : vm->main && vm->attach ? vm->attach->pid : 0;
    *start = process ? process_start_time(process) : *pid ? vm->attach->start : 0;
}

static void vm_attach_try(struct vm_attach *attach)
{
    struct timeval retry = { .tv_usec = VM_RETRY_MS * 1000 };
    struct timeval greeting = { .tv_sec = VM_GREETING_S };
    struct err err = ERR_INIT;
    int fd = sock_connect(&attach->address, &err);

    if (fd >= 0) {
        vm_attach_look(attach, fd);
        vm_attach_fd(attach->vm, fd);
        event_add(attach->greeting, &greeting);
        return;
    }
    if (!attach->complained)
        log_warn("%s: trying again until it can be connected to", err.desc);
    attach->complained = true;
    err_clear(&err);
    event_add(attach->retry, &retry);
}

static void vm_attach_retry_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    vm_attach_try(arg);
}

static void vm_attach_greeting_cb(evutil_socket_t fd, short what, void *arg)
{
    struct vm_attach *attach = arg;

    (void)fd;
    (void)what;
    if (attach->vm->main && !link_ready(attach->vm->main->link))
        log_warn("QEMU accepts the connection and does not greet: its monitor serves one client, "
                 "and another one seems to be connected");
}

void vm_attach(struct vm *vm, const struct address *address)
{
    struct vm_attach *attach = alloc_zeroed(1, sizeof(*attach));

    attach->vm = vm;
    attach->address = *address;
    attach->retry = event_new(vm->base, -1, 0, vm_attach_retry_cb, attach);
    attach->greeting = event_new(vm->base, -1, 0, vm_attach_greeting_cb, attach);
    if (!attach->retry || !attach->greeting)
        abort();
    vm->attach = attach;
    vm_attach_try(attach);
}

void vm_attach_again(struct vm *vm)
{
    struct timeval retry = { .tv_usec = VM_RETRY_MS * 1000 };

    vm->attach->complained = true; /* that it ended is said elsewhere */
    event_del(vm->attach->greeting);
    event_add(vm->attach->retry, &retry);
}

void vm_attach_free(struct vm_attach *attach)
{
    if (!attach)
        return;
    event_free(attach->retry);
    event_free(attach->greeting);
    address_clear(&attach->address);
    free(attach);
}

/* ---- our own QEMU ---- */

bool vm_renew(struct vm *vm)
{
    struct instance *main = vm->main;
    struct link *old = main->link;
    struct err err = ERR_INIT;
    int fd;

    /* One that closes without a greeting is ending. */
    if (!main->process || vm->ending_main || process_has_ended(main->process) ||
        link_greeting(old)[0] == '\0')
        return false;
    fd = sock_connect_at(vm->store->run_fd, main->socket, &err);
    if (fd < 0) {
        /* It listens no more: it is ending, and its end will be heard of. */
        log_debug("%s", err.desc);
        err_clear(&err);
        return false;
    }
    log_info("QEMU closed its monitor: connected to it again");
    main->link = link_new(vm->base, fd, &instance_ops, main);
    main->link_closed = false;
    link_hold(main->link, link_held(old));
    vm->announced = false; /* whoever was interrupted goes on when it answers */
    link_move_waiting(old, main->link);
    link_free(old);
    return true;
}

bool vm_renew_main(struct vm *vm)
{
    if (vm->attach)
        return true; /* somebody else could come in between */
    return vm->main && !vm->next && link_end_idle(vm->main->link);
}
