/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/link_internal.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* Answers are bounded by what QEMU can say in one message; this is against a broken peer. */
#define LINK_MESSAGE_MAX (256u << 20)

/* The id of the negotiation: answers before it belong to a proxy that was here before. */
#define LINK_HELLO_FMT "qmp-proxy-%ld-%u"

/* Those that are there now: who hears of a loss may ask again. */
void link_lose(struct request_queue *queue)
{
    struct request_queue lost = TAILQ_HEAD_INITIALIZER(lost);
    struct request *request;

    TAILQ_CONCAT(&lost, queue, next);
    while ((request = TAILQ_FIRST(&lost))) {
        TAILQ_REMOVE(&lost, request, next);
        if (request->cb)
            request->cb(request->arg, ANSWER_LOST, NULL, 0, NULL);
        request_free(request);
    }
}

void link_lose_waiting(struct link *link)
{
    link_lose(&link->waiting);
}

/* The connection is gone: what was sent is answered, then the owner is told, from the loop. */
static void link_closed_cb(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;

    (void)fd;
    (void)what;
    link->in_band = 0;
    link_lose(&link->sent);
    link_bulk_lose(link);
    link->ops->closed(link->arg);
}

void link_close(struct link *link, const char *why)
{
    if (link->state == LINK_CLOSED)
        return;
    log_debug("connection to QEMU ended: %s", why);
    link->state = LINK_CLOSED;
    event_del(link->read_event);
    event_del(link->write_event);
    event_active(link->close_event, EV_TIMEOUT, 0);
}

bool link_end_idle(struct link *link)
{
    if (link->state != LINK_READY || link->bulk || !TAILQ_EMPTY(&link->sent) ||
        !TAILQ_EMPTY(&link->waiting))
        return false;
    link_close(link, "to be made anew");
    return true;
}

static void link_on_greeting(struct link *link, const struct frame *frame)
{
    static unsigned hello_count;
    struct message_reply reply;
    json_t *greeting;
    json_t *capabilities, *item;
    char *hello;
    size_t i;

    if (!message_scan_reply(frame->text.at, frame->text.len, &reply) ||
        reply.kind != MESSAGE_GREETING)
        return; /* the answer to a command of somebody who was connected before */
    link->greeting = span_dup(frame->text);
    greeting = json_loadb(frame->text.at, frame->text.len, 0, NULL);
    capabilities = json_object_get(json_object_get(greeting, "QMP"), "capabilities");
    json_array_foreach(capabilities, i, item)
        if (json_is_string(item) && strcmp(json_string_value(item), "oob") == 0)
            link->has_oob = true;
    json_decref(greeting);
    snprintf(link->hello, sizeof(link->hello), LINK_HELLO_FMT, (long)getpid(), ++hello_count);
    link->state = LINK_NEGOTIATING;
    hello = alloc_print("{\"execute\":\"qmp_capabilities\",\"id\":\"%s\"%s}", link->hello,
                        link->has_oob ? ",\"arguments\":{\"enable\":[\"oob\"]}" : "");
    log_trace("to QEMU: %s", hello);
    evbuffer_add(link->out, hello, strlen(hello));
    free(hello);
    link_flush(link, NULL, 0);
}

static void link_on_negotiated(struct link *link, const struct message_reply *reply)
{
    size_t len = strlen(link->hello);

    if (!reply->has_id || reply->id.len != len + 2 || memcmp(reply->id.at + 1, link->hello, len) != 0)
        return;
    if (reply->kind != MESSAGE_RETURN) {
        link_close(link, "QEMU refused the capabilities");
        return;
    }
    link->state = LINK_READY;
    link->ops->ready(link->arg);
}

static void link_on_answer(struct link *link, const struct frame *frame,
                           const struct message_reply *reply)
{
    unsigned id = 0;
    struct request *request;

    for (size_t i = 0; reply->has_id && i < reply->id.len && i < 6; i++)
        id = reply->id.at[i] >= '0' && reply->id.at[i] <= '9'
                 ? id * 10 + (unsigned)(reply->id.at[i] - '0') : 0;
    TAILQ_FOREACH(request, &link->sent, next)
        if (request->id == id)
            break;
    if (!request) {
        log_debug("dropped an answer that nobody waits for");
        return;
    }
    TAILQ_REMOVE(&link->sent, request, next);
    if (!request->oob) {
        link->in_band--;
        link->exclusive = false;
    }
    if (request->cb)
        request->cb(request->arg, reply->kind == MESSAGE_RETURN ? ANSWER_RETURN : ANSWER_ERROR,
                    frame->text.at, frame->text.len, reply);
    request_free(request);
    link_bulk_answered(link);
}

static void link_on_frame(struct link *link, struct frame *frame)
{
    struct message_reply reply;

    if (frame->kind == FRAME_TOO_LARGE) {
        link_close(link, "QEMU sent a message without an end");
        return;
    }
    if (frame->kind == FRAME_ERROR) {
        log_warn("QEMU sent something that is not JSON: %s", frame->err.desc);
        err_clear(&frame->err);
        return;
    }
    if (link->state == LINK_GREETING) {
        link_on_greeting(link, frame);
        return;
    }
    if (!message_scan_reply(frame->text.at, frame->text.len, &reply))
        return;
    if (link->state == LINK_NEGOTIATING) {
        link_on_negotiated(link, &reply);
    } else if (reply.kind == MESSAGE_EVENT) {
        link->ops->event(link->arg, frame->text.at, frame->text.len, &reply);
    } else if (reply.kind == MESSAGE_RETURN || reply.kind == MESSAGE_ERROR) {
        link_on_answer(link, frame, &reply);
    }
}

static void link_read_cb(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;
    static char data[64 * 1024];
    ssize_t n = recv(fd, data, sizeof(data), 0);

    (void)what;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        /* A QEMU that ends with unread input resets the connection: that is its end as well. */
        link_close(link, n < 0 ? strerror(errno) : "end of file");
        return;
    }
    for (size_t at = 0; at < (size_t)n && link->state != LINK_CLOSED;) {
        struct frame frame;

        at += framer_feed(link->framer, data + at, (size_t)n - at, &frame);
        if (frame.kind != FRAME_NONE)
            link_on_frame(link, &frame);
    }
    link_pump(link);
}

static void link_write_cb(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;

    (void)fd;
    (void)what;
    link_flush(link, NULL, 0);
    link_pump(link);
}

json_t *link_reply_value(enum link_answer answer, const struct message_reply *reply)
{
    return answer == ANSWER_RETURN ? json_loadb(reply->value.at, reply->value.len,
                                                JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

struct link *link_new(struct event_base *base, int fd, const struct link_ops *ops, void *arg)
{
    struct link *link = alloc_zeroed(1, sizeof(*link));

    link->base = base;
    link->fd = fd;
    link->ops = ops;
    link->arg = arg;
    link->next_id = 1;
    TAILQ_INIT(&link->waiting);
    TAILQ_INIT(&link->sent);
    link->framer = framer_new(LINK_MESSAGE_MAX);
    link->out = evbuffer_new();
    link->read_event = event_new(base, fd, EV_READ | EV_PERSIST, link_read_cb, link);
    link->write_event = event_new(base, fd, EV_WRITE, link_write_cb, link);
    link->close_event = event_new(base, -1, 0, link_closed_cb, link);
    if (!link->out || !link->read_event || !link->write_event || !link->close_event ||
        event_add(link->read_event, NULL) < 0)
        abort();
    return link;
}

void link_free(struct link *link)
{
    struct request *request;

    if (!link)
        return;
    link_free(link->bulk);
    TAILQ_CONCAT(&link->waiting, &link->sent, next);
    while ((request = TAILQ_FIRST(&link->waiting))) {
        TAILQ_REMOVE(&link->waiting, request, next);
        request_free(request);
    }
    event_free(link->read_event);
    event_free(link->write_event);
    event_free(link->close_event);
    evbuffer_free(link->out);
    framer_free(link->framer);
    free(link->greeting);
    close(link->fd);
    free(link);
}

bool link_ready(const struct link *link)
{
    return link->state == LINK_READY;
}

const char *link_greeting(const struct link *link)
{
    return link->greeting ? link->greeting : "";
}

bool link_has_oob(const struct link *link)
{
    return link->has_oob;
}
