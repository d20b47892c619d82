/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/launch.h"
#include "proxy/log.h"
#include "proxy/session.h"
#include "proxy/sock.h"

static void listener_accept_cb(evutil_socket_t fd, short what, void *arg)
{
    struct listener_entry *entry = arg;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (client < 0)
        return;
    session_start(entry->daemon, client);
    launch_client_came(entry->daemon);
}

static void listener_watch(struct daemon *daemon, int fd, const char *path)
{
    struct listener_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        abort();
    entry->fd = fd;
    entry->daemon = daemon;
    entry->unlink_path = path ? strdup(path) : NULL;
    entry->event = event_new(daemon->base, fd, EV_READ | EV_PERSIST, listener_accept_cb, entry);
    if (!entry->event || event_add(entry->event, NULL) < 0)
        abort();
    LIST_INSERT_HEAD(&daemon->listeners, entry, next);
}

bool listener_add(struct daemon *daemon, const struct address *address, struct err *err)
{
    int fd = sock_listen(address, err);

    if (fd < 0)
        return false;
    listener_watch(daemon, fd, address->kind == ADDRESS_UNIX ? address->path : NULL);
    return true;
}

bool listener_add_text(struct daemon *daemon, const char *text, struct err *err)
{
    struct address address;
    bool ok = address_parse(text, &address, err);

    if (ok) {
        ok = listener_add(daemon, &address, err);
        address_clear(&address);
    }
    return ok;
}

/* What the arguments say in QEMU's terms.  QEMU's own sockets follow the umask and TCP is where the
 * user put it: neither is ours to change. */
static struct address listener_address(const struct args_monitor *monitor)
{
    struct address address = { .fd = monitor->fd, .mode = -1, .insecure = true };
    mode_t mask = umask(0);

    umask(mask);
    address.path = monitor->path;
    address.host = monitor->host && monitor->host[0] ? monitor->host : (char *)"0.0.0.0";
    address.port = monitor->port;
    address.mode = (int)(0777 & ~mask);
    switch (monitor->kind) {
    case ARGS_MONITOR_UNIX_LISTEN:
    case ARGS_MONITOR_UNIX_CONNECT:
        address.kind = ADDRESS_UNIX;
        break;
    case ARGS_MONITOR_TCP_LISTEN:
    case ARGS_MONITOR_TCP_CONNECT:
        address.kind = ADDRESS_TCP;
        break;
    default:
        address.kind = ADDRESS_FD;
    }
    return address;
}

bool listener_add_monitor(struct daemon *daemon, const struct args_monitor *monitor,
                          struct err *err)
{
    struct address address = listener_address(monitor);
    int fd;

    if (monitor->kind == ARGS_MONITOR_STDIO || monitor->abstract) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "A QMP monitor on %s cannot be taken over yet: use "
                "-qmp unix:PATH,server=on,wait=off",
                monitor->abstract ? "an abstract socket" : "stdio");
        return false;
    }
    if (monitor->server) {
        if (monitor->wait)
            daemon->waits_for_client = true;
        return listener_add(daemon, &address, err);
    }
    fd = sock_connect(&address, err);
    if (fd >= 0)
        session_start(daemon, fd);
    return fd >= 0;
}

void listener_close_all(struct daemon *daemon)
{
    struct listener_entry *entry;

    while ((entry = LIST_FIRST(&daemon->listeners))) {
        LIST_REMOVE(entry, next);
        event_free(entry->event);
        close(entry->fd);
        if (entry->unlink_path)
            unlink(entry->unlink_path);
        free(entry->unlink_path);
        free(entry);
    }
}
