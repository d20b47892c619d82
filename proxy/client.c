/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/client_internal.h"
#include "proxy/log.h"
#include "qmp/alloc.h"
#include "qmp/pretty.h"

/* Messages of one client that are taken, or bytes of answers, before others have their turn. */
#define CLIENT_TURN 16
#define CLIENT_TURN_BYTES ((size_t)128 << 10)

/* Of a message that grows beyond CLIENT_LARGE, one read a pause: faster by far than QEMU reads, and
 * slow enough for others to notice nothing. */
#define CLIENT_LARGE ((size_t)256 << 10)
#define CLIENT_READ (16 << 10)
#define CLIENT_PAUSE_US 1000

static void client_drop_fds(struct client *client)
{
    while (client->n_fds > 0)
        close(client->fds[--client->n_fds]);
}

/* Runs from the loop, so that nobody who is on the stack still uses the client. */
static void client_close_cb(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    (void)fd;
    (void)what;
    slot_drop_all(client);
    client->limits->memory -= client->counted;
    client->limits->n_clients--;
    LIST_REMOVE(client, all);
    client->ops->closed(client->arg, client);
    client_drop_fds(client);
    event_free(client->read_event);
    event_free(client->write_event);
    event_free(client->close_event);
    event_free(client->resume_event);
    event_free(client->linger_event);
    evbuffer_free(client->in);
    evbuffer_free(client->out);
    framer_free(client->framer);
    if (!client->socket) {
        /* A terminal or pipe is shared with others, who expect it as it was. */
        fcntl(client->fd, F_SETFL, client->flags);
        fcntl(client->fd_out, F_SETFL, client->flags_out);
    }
    close(client->fd);
    if (client->fd_out != client->fd)
        close(client->fd_out);
    free(client);
}

void client_close(struct client *client, const char *why)
{
    if (client->closing)
        return;
    log_debug("client closed: %s", why);
    client->closing = true;
    while (evbuffer_get_length(client->out) > 0 && evbuffer_write(client->out, client->fd_out) > 0)
        continue;
    event_del(client->read_event);
    event_del(client->write_event);
    event_del(client->resume_event);
    event_del(client->linger_event);
    event_active(client->close_event, EV_TIMEOUT, 0);
}

void client_go_on(struct client *client)
{
    struct timeval now = { 0 };

    event_add(client->resume_event, &now);
}

/* ---- output ---- */

void client_flush(struct client *client)
{
    while (evbuffer_get_length(client->out) > 0) {
        int n = evbuffer_write(client->out, client->fd_out);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            client_close(client, n < 0 ? strerror(errno) : "closed");
            return;
        }
    }
    client_count(client);
    if (evbuffer_get_length(client->out) > 0)
        event_add(client->write_event, NULL);
    else if (client->refused)
        client_close(client, "was told why");
    else if (client->eof && TAILQ_EMPTY(&client->slots) && evbuffer_get_length(client->in) == 0)
        /* It had closed its side; everything that it asked is answered. */
        client_close(client, "end of file");
    if (evbuffer_get_length(client->out) > client->limits->max_unread)
        client_refuse(client, "More than %zu bytes of answers and events wait to be read "
                      "(--max-unread)", client->limits->max_unread);
    client_make_room(client->limits);
}

void client_put(struct client *client, const char *line, size_t len)
{
    size_t pretty_len;
    char *pretty;

    if (!client->session.pretty) {
        evbuffer_add(client->out, line, len);
        return;
    }
    pretty = pretty_message(line, len, &pretty_len);
    evbuffer_add(client->out, pretty, pretty_len);
    free(pretty);
}

void client_send(struct client *client, const char *line, size_t len)
{
    if (client->closing || client->refused)
        return;
    client_put(client, line, len);
    client_flush(client);
}

/* ---- input ---- */

static bool client_takes(const struct client *client)
{
    return !client->closing && !client->refused && !client->blocked && slot_room(client);
}

/* Reads on, as long as more may be taken. */
static void client_update_reading(struct client *client)
{
    struct timeval pause = { .tv_usec = CLIENT_PAUSE_US };

    if (!client_takes(client) || client->eof)
        event_del(client->read_event);
    else if (framer_pending(client->framer) <= CLIENT_LARGE)
        event_add(client->read_event, NULL);
    else if (!event_pending(client->read_event, EV_READ, NULL))
        event_add(client->resume_event, &pause);
}

/* Takes messages out of what was read, as long as more may be taken. */
static void client_process(struct client *client)
{
    int taken = 0;

    if (client->refused) {
        slot_drop_all(client);
        return;
    }
    client->processing = true;
    slot_begin_kept(client);
    while (client_takes(client) && evbuffer_get_length(client->in) > 0) {
        size_t len = evbuffer_get_contiguous_space(client->in);
        const char *data = (const char *)evbuffer_pullup(client->in, (ev_ssize_t)len);
        struct frame frame;
        size_t used = framer_feed(client->framer, data, len, &frame);

        /* The frame's text is the framer's own, so the bytes may go. */
        evbuffer_drain(client->in, used);
        if (frame.kind == FRAME_NONE)
            continue;
        client->ops->frame(client->arg, client, &frame);
        if (frame.kind != FRAME_MESSAGE)
            err_clear(&frame.err);
        if (++taken == CLIENT_TURN || evbuffer_get_length(client->out) > CLIENT_TURN_BYTES) {
            client_go_on(client);
            break;
        }
    }
    client->processing = false;
    if (client->closing)
        return;
    client_update_reading(client);
    client_flush(client);
}

static void client_read_cb(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    char data[CLIENT_READ];
    int fds[FDPASS_MAX];
    size_t n_fds = 0;
    ssize_t n;

    (void)what;
    n = client->socket ? fdpass_recv(fd, data, fdpass_step(fd, data, sizeof(data)), fds, &n_fds)
                       : read(fd, data, sizeof(data));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0) {
        client_close(client, strerror(errno));
        return;
    }
    if (n_fds > 0) {
        client_drop_fds(client);
        memcpy(client->fds, fds, n_fds * sizeof(*fds));
        client->n_fds = n_fds;
    }
    if (n == 0 && slot_client_gone(client)) {
        client_close(client, "hung up");
        return;
    }
    if (n == 0)
        client->eof = true;
    else
        evbuffer_add(client->in, data, (size_t)n);
    if (framer_pending(client->framer) > CLIENT_LARGE)
        event_del(client->read_event); /* until the pause is over */
    client_process(client);
}

static void client_write_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    client_flush(arg);
}

static void client_resume_cb(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    (void)fd;
    (void)what;
    if (client_takes(client) && !client->eof && evbuffer_get_length(client->in) == 0)
        event_add(client->read_event, NULL);
    client_process(client);
}

static void client_linger_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    client_close(arg, "does not read why it is closed");
}

void client_resume(struct client *client)
{
    bool idle = TAILQ_EMPTY(&client->slots) && evbuffer_get_length(client->in) == 0 &&
                event_pending(client->read_event, EV_READ, NULL);

    /* Whoever answers may be inside of client_process(), which goes on anyway. */
    if (!client->closing && !client->refused && !client->processing && !idle)
        client_go_on(client);
}

void client_block(struct client *client, bool block)
{
    client->blocked = block;
    if (!block)
        client_resume(client);
}

/* ---- life ---- */

static int client_prepare_fd(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return flags;
}

struct client *client_new(struct event_base *base, int fd, int fd_out, struct client_limits *limits,
                          const struct client_ops *ops, void *arg)
{
    struct client *client = alloc_zeroed(1, sizeof(*client));
    int type;
    socklen_t len = sizeof(type);

    client->fd = fd;
    client->fd_out = fd_out;
    client->flags = client_prepare_fd(fd);
    client->flags_out = client_prepare_fd(fd_out);
    client->limits = limits;
    client->ops = ops;
    client->arg = arg;
    client->socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    TAILQ_INIT(&client->slots);
    client->framer = framer_new(limits->max_request);
    client->in = evbuffer_new();
    client->out = evbuffer_new();
    client->read_event = event_new(base, fd, EV_READ | EV_PERSIST, client_read_cb, client);
    client->write_event = event_new(base, fd_out, EV_WRITE, client_write_cb, client);
    client->close_event = event_new(base, -1, 0, client_close_cb, client);
    client->resume_event = event_new(base, -1, 0, client_resume_cb, client);
    client->linger_event = event_new(base, -1, 0, client_linger_cb, client);
    if (!client->in || !client->out || !client->read_event || !client->write_event ||
        !client->close_event || !client->resume_event || !client->linger_event ||
        event_add(client->read_event, NULL) < 0)
        abort();
    LIST_INSERT_HEAD(&limits->clients, client, all);
    limits->n_clients++;
    return client;
}

void client_give_fds(struct client *client, struct slot *slot)
{
    memcpy(slot->fds, client->fds, client->n_fds * sizeof(*slot->fds));
    slot->n_fds = client->n_fds;
    client->n_fds = 0;
}

struct client *client_first(const struct client_limits *limits)
{
    return LIST_FIRST(&limits->clients);
}

struct client *client_next(const struct client *client)
{
    return LIST_NEXT(client, all);
}

struct client_session *client_session(struct client *client)
{
    return &client->session;
}

const struct client_limits *client_limits(const struct client *client)
{
    return client->limits;
}
