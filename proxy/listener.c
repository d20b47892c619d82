/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/launch.h"
#include "proxy/log.h"
#include "proxy/session.h"
#include "proxy/sock.h"
#include "qmp/alloc.h"

/* How long to wait when there is no descriptor for one more client. */
#define LISTENER_PAUSE_MS 100

/* The first descriptor of socket activation (sd_listen_fds(3), SD_LISTEN_FDS_START). */
#define LISTENER_ACTIVATED_FD 3

/* A socket that listens, or somebody to connect to again and again. */
struct listener_entry {
    LIST_ENTRY(listener_entry) next;
    struct daemon *daemon;
    int fd;                     /* -1: connects */
    struct event *event;        /* somebody connects */
    struct event *timer;        /* to listen, or to connect, again */
    bool pretty;
    char *path;                 /* to be unlinked, or to connect to */
    struct address address;     /* of who is connected to; strings owned, path is the one above */
    unsigned reconnect_ms;
    const struct client *client;
};

static void listener_later(struct listener_entry *entry, unsigned ms)
{
    struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 };

    event_add(entry->timer, &tv);
}

static void listener_accept_cb(evutil_socket_t fd, short what, void *arg)
{
    struct listener_entry *entry = arg;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (client >= 0) {
        session_start(entry->daemon, client, client, entry->pretty);
        launch_client_came(entry->daemon);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* The connection stays in the queue and would be reported at once, for ever. */
        event_del(entry->event);
        listener_later(entry, LISTENER_PAUSE_MS);
    }
}

static void listener_dial(struct listener_entry *entry)
{
    struct err err = ERR_INIT;
    int fd = sock_connect(&entry->address, &err);

    if (fd >= 0) {
        entry->client = session_start(entry->daemon, fd, fd, entry->pretty);
        launch_client_came(entry->daemon);
        return;
    }
    log_debug("%s", err.desc);
    err_clear(&err);
    listener_later(entry, entry->reconnect_ms);
}

static void listener_timer_cb(evutil_socket_t fd, short what, void *arg)
{
    struct listener_entry *entry = arg;

    (void)fd;
    (void)what;
    if (entry->fd >= 0)
        event_add(entry->event, NULL);
    else
        listener_dial(entry);
}

static struct listener_entry *listener_new(struct daemon *daemon, const char *path)
{
    struct listener_entry *entry = alloc_zeroed(1, sizeof(*entry));

    entry->fd = -1;
    entry->daemon = daemon;
    entry->path = path ? alloc_copy(path) : NULL;
    entry->timer = event_new(daemon->base, -1, 0, listener_timer_cb, entry);
    if (!entry->timer)
        abort();
    LIST_INSERT_HEAD(&daemon->listeners, entry, next);
    return entry;
}

static bool listener_watch(struct daemon *daemon, const struct address *address, bool pretty,
                           struct err *err)
{
    int fd = sock_listen(address, err);
    struct listener_entry *entry;

    if (fd < 0)
        return false;
    entry = listener_new(daemon, address->kind == ADDRESS_UNIX && !address->abstract
                                     ? address->path : NULL);
    entry->fd = fd;
    entry->pretty = pretty;
    entry->event = event_new(daemon->base, fd, EV_READ | EV_PERSIST, listener_accept_cb, entry);
    if (!entry->event || event_add(entry->event, NULL) < 0)
        abort();
    return true;
}

bool listener_add_text(struct daemon *daemon, const char *text, struct err *err)
{
    struct address address;
    bool ok = address_parse(text, &address, err);

    if (ok) {
        ok = listener_watch(daemon, &address, false, err);
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
    address.abstract = monitor->abstract;
    address.tight = monitor->tight;
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

/* Connects now, and whenever the peer has gone, until the proxy ends. */
static void listener_keep_dialling(struct daemon *daemon, const struct args_monitor *monitor,
                                   const struct address *address)
{
    struct listener_entry *entry = listener_new(daemon, address->path);

    entry->pretty = monitor->pretty;
    entry->reconnect_ms = monitor->reconnect_ms;
    entry->address = *address;
    entry->address.path = entry->path;
    entry->address.host = address->host ? alloc_copy(address->host) : NULL;
    entry->address.port = address->port ? alloc_copy(address->port) : NULL;
    listener_dial(entry);
}

struct listener_pump {
    int from, to;
};

/* Ends with the file, or when nobody reads the pipe any more. */
static void *listener_pump_main(void *arg)
{
    struct listener_pump *pump = arg;
    char data[4096];
    ssize_t n, sent;

    while ((n = read(pump->from, data, sizeof(data))) > 0) {
        for (ssize_t at = 0; at < n; at += sent) {
            sent = write(pump->to, data + at, (size_t)(n - at));
            if (sent <= 0)
                goto out;
        }
    }
out:
    close(pump->from);
    close(pump->to);
    free(pump);
    return NULL;
}

/* A file cannot be waited for (epoll_ctl(2), EPERM): what it holds comes through a pipe.  -1: errno. */
static int listener_pollable(int fd)
{
    int probe = epoll_create1(EPOLL_CLOEXEC), ends[2];
    struct epoll_event event = { .events = EPOLLIN };
    bool pollable = epoll_ctl(probe, EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
    struct listener_pump *pump;
    pthread_t thread;

    if (probe < 0)
        return -1;
    close(probe);
    if (pollable)
        return fd;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    pump = alloc_bytes(sizeof(*pump));
    *pump = (struct listener_pump){ fd, ends[1] };
    errno = pthread_create(&thread, NULL, listener_pump_main, pump);
    if (errno != 0)
        return -1; /* which ends the program */
    pthread_detach(thread);
    return ends[0];
}

/* The client is who started us.  QEMU gets nothing to read, and writes to standard error: what it
 * prints on its own would otherwise stand between the messages. */
static bool listener_stdio(struct daemon *daemon, bool pretty, struct err *err)
{
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), from = in < 0 ? -1 : listener_pollable(in);

    if (from < 0 || out < 0 || null < 0) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "The QMP monitor on stdio cannot be taken over: %s",
                strerror(errno));
        return false;
    }
    dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    close(null);
    session_start(daemon, from, out, pretty);
    return true;
}

bool listener_add_activated(struct daemon *daemon, struct err *err)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    long n = pid && fds && strtol(pid, NULL, 10) == (long)getpid() ? strtol(fds, NULL, 10) : 0;
    bool ok = true;

    for (int i = 0; ok && i < n; i++) {
        struct address address = { .kind = ADDRESS_FD, .fd = LISTENER_ACTIVATED_FD + i, .mode = -1 };

        ok = listener_watch(daemon, &address, false, err);
    }
    /* They are for us, and not for what we start. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return ok;
}

bool listener_add_monitor(struct daemon *daemon, const struct args_monitor *monitor,
                          struct err *err)
{
    struct address address = listener_address(monitor);
    int fd;

    if (monitor->kind == ARGS_MONITOR_STDIO)
        return listener_stdio(daemon, monitor->pretty, err);
    if (monitor->server) {
        if (monitor->wait)
            daemon->waits_for_client = true;
        return listener_watch(daemon, &address, monitor->pretty, err);
    }
    if (monitor->reconnect_ms) {
        listener_keep_dialling(daemon, monitor, &address);
        return true;
    }
    fd = sock_connect(&address, err);
    if (fd >= 0)
        session_start(daemon, fd, fd, monitor->pretty);
    return fd >= 0;
}

void listener_client_gone(struct daemon *daemon, const struct client *client)
{
    struct listener_entry *entry;

    LIST_FOREACH(entry, &daemon->listeners, next) {
        if (entry->client == client) {
            entry->client = NULL;
            listener_later(entry, entry->reconnect_ms);
        }
    }
}

void listener_close_all(struct daemon *daemon)
{
    struct listener_entry *entry;

    while ((entry = LIST_FIRST(&daemon->listeners))) {
        LIST_REMOVE(entry, next);
        event_free(entry->timer);
        if (entry->event)
            event_free(entry->event);
        if (entry->fd >= 0) {
            close(entry->fd);
            if (entry->path)
                unlink(entry->path);
        }
        free(entry->address.host);
        free(entry->address.port);
        free(entry->path);
        free(entry);
    }
}
