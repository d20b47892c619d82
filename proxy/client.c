/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/log.h"
#include "qmp/pretty.h"

struct slot_private {
    struct slot slot;
    TAILQ_ENTRY(slot_private) next;
    char *id_text;
    char *line;                 /* the answer, while an earlier slot is still open */
    size_t len;
};

TAILQ_HEAD(slot_queue, slot_private);

struct client {
    struct event_base *base;
    int fd;
    struct event *read_event, *write_event, *close_event, *resume_event;
    struct framer *framer;
    struct evbuffer *in, *out;
    int fds[FDPASS_MAX];
    size_t n_fds;
    struct slot_queue slots;
    size_t n_slots;
    bool blocked, eof, closing, socket;
    struct client_session session;
    const struct client_ops *ops;
    void *arg;
};

static void client_process(struct client *client);

static void client_drop_fds(struct client *client)
{
    while (client->n_fds > 0)
        close(client->fds[--client->n_fds]);
}

static void slot_destroy(struct slot_private *slot)
{
    free(slot->id_text);
    free(slot->line);
    free(slot);
}

/* Runs from the loop, so that nobody who is on the stack still uses the client. */
static void client_close_cb(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    struct slot_private *slot;

    (void)fd;
    (void)what;
    while ((slot = TAILQ_FIRST(&client->slots))) {
        TAILQ_REMOVE(&client->slots, slot, next);
        slot->slot.client = NULL;
        if (slot->line)
            slot_destroy(slot); /* was answered, but an earlier one was not */
        else if (!slot->slot.local)
            client->ops->abandoned(client->arg, &slot->slot);
    }
    client->ops->closed(client->arg, client);
    client_drop_fds(client);
    event_free(client->read_event);
    event_free(client->write_event);
    event_free(client->close_event);
    event_free(client->resume_event);
    evbuffer_free(client->in);
    evbuffer_free(client->out);
    framer_free(client->framer);
    close(client->fd);
    free(client);
}

void client_close(struct client *client, const char *why)
{
    if (client->closing)
        return;
    log_debug("client closed: %s", why);
    client->closing = true;
    while (evbuffer_get_length(client->out) > 0 && evbuffer_write(client->out, client->fd) > 0)
        continue;
    event_del(client->read_event);
    event_del(client->write_event);
    event_del(client->resume_event);
    event_active(client->close_event, EV_TIMEOUT, 0);
}

static void client_flush(struct client *client)
{
    while (evbuffer_get_length(client->out) > 0) {
        int n = evbuffer_write(client->out, client->fd);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            client_close(client, n < 0 ? strerror(errno) : "closed");
            return;
        }
    }
    if (evbuffer_get_length(client->out) > CLIENT_OUT_MAX) {
        log_warn("closing a client that does not read: more than %u bytes wait for it",
                 CLIENT_OUT_MAX);
        client_close(client, "does not read");
    } else if (evbuffer_get_length(client->out) > 0) {
        event_add(client->write_event, NULL);
    } else if (client->eof && client->n_slots == 0 && evbuffer_get_length(client->in) == 0) {
        /* It had closed its side; everything that it asked is answered. */
        client_close(client, "end of file");
    }
}

static void client_put(struct client *client, const char *line, size_t len)
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
    if (client->closing)
        return;
    client_put(client, line, len);
    client_flush(client);
}

static void client_update_reading(struct client *client)
{
    bool reading = !client->closing && !client->eof && !client->blocked &&
                   client->n_slots < CLIENT_SLOTS_MAX;

    if (reading)
        event_add(client->read_event, NULL);
    else
        event_del(client->read_event);
}

/* Takes messages out of what was read, as long as more may be taken. */
static void client_process(struct client *client)
{
    while (!client->closing && !client->blocked && client->n_slots < CLIENT_SLOTS_MAX &&
           evbuffer_get_length(client->in) > 0) {
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
    }
    if (!client->closing) {
        client_update_reading(client);
        client_flush(client);
    }
}

static void client_read_cb(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    char data[16 * 1024];
    int fds[FDPASS_MAX];
    size_t n_fds = 0;
    ssize_t n;

    (void)what;
    n = client->socket ? fdpass_recv(fd, data, sizeof(data), fds, &n_fds)
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
    if (n == 0)
        client->eof = true;
    else
        evbuffer_add(client->in, data, (size_t)n);
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
    (void)fd;
    (void)what;
    client_process(arg);
}

struct client *client_new(struct event_base *base, int fd, const struct client_ops *ops, void *arg)
{
    struct client *client = calloc(1, sizeof(*client));
    int type;
    socklen_t len = sizeof(type);

    if (!client)
        abort();
    client->base = base;
    client->fd = fd;
    client->ops = ops;
    client->arg = arg;
    client->socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    TAILQ_INIT(&client->slots);
    client->framer = framer_new(0);
    client->in = evbuffer_new();
    client->out = evbuffer_new();
    client->read_event = event_new(base, fd, EV_READ | EV_PERSIST, client_read_cb, client);
    client->write_event = event_new(base, fd, EV_WRITE, client_write_cb, client);
    client->close_event = event_new(base, -1, 0, client_close_cb, client);
    client->resume_event = event_new(base, -1, 0, client_resume_cb, client);
    if (!client->in || !client->out || !client->read_event || !client->write_event ||
        !client->close_event || !client->resume_event || event_add(client->read_event, NULL) < 0)
        abort();
    return client;
}

struct slot *slot_new(struct client *client, const struct message *message)
{
    struct slot_private *slot = calloc(1, sizeof(*slot));

    if (!slot)
        abort();
    slot->slot.client = client;
    slot->slot.private = slot;
    if (message && message->has_id) {
        slot->id_text = span_dup(message->id);
        slot->slot.id = (struct span){ slot->id_text, message->id.len };
    }
    slot->slot.oob = message && message->oob;
    TAILQ_INSERT_TAIL(&client->slots, slot, next);
    client->n_slots++;
    return &slot->slot;
}

void slot_free(struct slot *slot)
{
    struct client *client = slot->client;

    if (client) {
        TAILQ_REMOVE(&client->slots, slot->private, next);
        client->n_slots--;
    }
    slot_destroy(slot->private);
}

void slot_answer(struct slot *slot, const char *line, size_t len)
{
    struct client *client = slot->client;
    struct slot_private *first;

    if (!client || client->closing || slot->oob) {
        if (client)
            client_send(client, line, len);
        slot_free(slot);
    } else {
        slot->private->line = malloc(len);
        if (!slot->private->line)
            abort();
        memcpy(slot->private->line, line, len);
        slot->private->len = len;
        while ((first = TAILQ_FIRST(&client->slots)) && first->line) {
            client_put(client, first->line, first->len);
            slot_free(&first->slot);
        }
    }
    /* Answers may come from inside of client_process(): go on from the loop. */
    if (client && !client->closing) {
        if (evbuffer_get_length(client->out) > 0)
            event_add(client->write_event, NULL);
        event_active(client->resume_event, EV_TIMEOUT, 0);
    }
}

void client_block(struct client *client, bool block)
{
    client->blocked = block;
    if (!block && !client->closing)
        event_active(client->resume_event, EV_TIMEOUT, 0);
}

size_t client_take_fds(struct client *client, int fds[FDPASS_MAX])
{
    size_t n = client->n_fds;

    memcpy(fds, client->fds, n * sizeof(*fds));
    client->n_fds = 0;
    return n;
}

struct client_session *client_session(struct client *client)
{
    return &client->session;
}
