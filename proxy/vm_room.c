/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where commands of clients wait while there is no QEMU to take them: a link whose other end says
 * nothing, so that it never becomes ready and never closes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/vm_internal.h"
#include "qmp/alloc.h"

struct vm_room {
    struct link *link;
    int other_end;
};

static void room_nothing(void *arg)
{
    (void)arg;
}

static void room_no_event(void *arg, const char *text, size_t len, const struct message_reply *reply)
{
    (void)arg;
    (void)text;
    (void)len;
    (void)reply;
}

static const struct link_ops room_ops = {
    .ready = room_nothing,
    .event = room_no_event,
    .closed = room_nothing,
};

void vm_make_room(struct vm *vm)
{
    int ends[2];

    if (vm->room)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        /* Their commands are lost with the QEMU that they were for. */
        log_error("commands of clients cannot wait: %s", strerror(errno));
        return;
    }
    vm->room = alloc_zeroed(1, sizeof(*vm->room));
    vm->room->other_end = ends[1];
    vm->room->link = link_new(vm->base, ends[0], &room_ops, vm);
    if (vm->main)
        link_move_waiting(vm->main->link, vm->room->link);
}

void vm_leave_room(struct vm *vm)
{
    if (!vm->room || !vm->main)
        return;
    link_move_waiting(vm->room->link, vm->main->link);
    vm_free_room(vm);
}

void vm_free_room(struct vm *vm)
{
    if (!vm->room)
        return;
    link_free(vm->room->link);
    close(vm->room->other_end);
    free(vm->room);
    vm->room = NULL;
}

struct link *vm_room_link(const struct vm_room *room)
{
    return room->link;
}
