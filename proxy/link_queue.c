/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/fdpass.h"
#include "proxy/link_internal.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* In-band requests that QEMU has at a time: enough to keep it busy, few enough that its queue of 8
 * never fills and stops it reading. */
#define LINK_IN_FLIGHT_MAX 4

/* More than all clients can have under way; five digits. */
#define LINK_ID_MAX 99999

/* Of what QEMU has not taken yet: the rest waits where it can be taken back. */
#define LINK_OUT_MAX 65536

/* While several ask, QEMU has one request of each at most and so many of all: who asks seldom waits
 * for few of those who ask much.  They count as asking for so long. */
#define LINK_SHARED_MAX 2
#define LINK_SHARED_US 100000

void request_free(struct request *request)
{
    for (size_t i = 0; i < request->n_fds; i++)
        close(request->fds[i]);
    free(request->text);
    free(request);
}

/* Sends what is buffered; with fds, they go with its first byte and the buffer held nothing else. */
void link_flush(struct link *link, const int *fds, size_t n_fds)
{
    if (n_fds) {
        size_t len = evbuffer_get_length(link->out);
        char *data = (char *)evbuffer_pullup(link->out, -1);
        ssize_t n = fdpass_send(link->fd, data, len, fds, n_fds);

        if (n < 0 && errno != EAGAIN) {
            link_close(link, strerror(errno));
            return;
        }
        if (n > 0)
            evbuffer_drain(link->out, (size_t)n);
    }
    while (evbuffer_get_length(link->out) > 0) {
        int n = evbuffer_write(link->out, link->fd);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            link_close(link, n < 0 ? strerror(errno) : "closed");
            return;
        }
    }
    if (evbuffer_get_length(link->out) > 0)
        event_add(link->write_event, NULL);
}

static bool link_shared(const struct link *link)
{
    struct timeval now, since;

    event_base_gettimeofday_cached(link->base, &now);
    evutil_timersub(&now, &link->shared, &since);
    return since.tv_sec == 0 && since.tv_usec < LINK_SHARED_US;
}

static void link_note_asker(struct link *link, const struct request *request)
{
    if (request->own || request->oob)
        return;
    if (link->last_asker && link->last_asker != request->asker)
        event_base_gettimeofday_cached(link->base, &link->shared);
    link->last_asker = request->asker;
}

/* An id that no request has that QEMU still has to answer. */
static unsigned link_new_id(struct link *link)
{
    const struct request *other;

    do {
        link->next_id = link->next_id % LINK_ID_MAX + 1;
        TAILQ_FOREACH(other, &link->sent, next)
            if (other->id == link->next_id)
                break;
    } while (other);
    return link->next_id;
}

static void link_transmit(struct link *link, struct request *request)
{
    TAILQ_REMOVE(&link->waiting, request, next);
    TAILQ_INSERT_TAIL(&link->sent, request, next);
    if (!request->oob)
        link->in_band++;
    link_note_asker(link, request);
    if (!request->own && request->turn > link->turn)
        link->turn = request->turn;
    if (request->n_fds && !request->oob)
        link->exclusive = true;
    request->id = link_new_id(link);
    if (request->own)
        log_trace("to QEMU: %.*s%u%s", (int)request->id_at, request->text, request->id,
                  request->text + request->id_at + 1);
    evbuffer_add(link->out, request->text, request->id_at);
    evbuffer_add_printf(link->out, "%u", request->id);
    evbuffer_add(link->out, request->text + request->id_at + 1, request->len - request->id_at - 1);
    free(request->text);
    request->text = NULL;
    link_flush(link, request->fds, request->n_fds);
    while (request->n_fds > 0)
        close(request->fds[--request->n_fds]);
}

static bool link_may_send(const struct link *link, const struct request *request)
{
    const struct request *other;

    if (request->oob)
        return true;
    if (request->n_fds)
        return link->in_band == 0 && evbuffer_get_length(link->out) == 0;
    if (link->exclusive || link->in_band >= LINK_IN_FLIGHT_MAX ||
        evbuffer_get_length(link->out) > LINK_OUT_MAX)
        return false;
    if (request->own || !link_shared(link))
        return true;
    TAILQ_FOREACH(other, &link->sent, next)
        if (!other->own && !other->oob && other->asker == request->asker)
            return false;
    return link->in_band < LINK_SHARED_MAX;
}

/* Whether one that waits before it has the same asker: those keep their order. */
static bool link_behind_own(const struct request *request)
{
    const struct request *other = request;

    while ((other = TAILQ_PREV(other, request_queue, next)))
        if (!other->oob && other->own == request->own && other->asker == request->asker)
            return true;
    return false;
}

void link_pump(struct link *link)
{
    struct request *request, *after;
    bool full = false; /* oob requests overtake all the same */

    if (link->state != LINK_READY)
        return;
    for (request = TAILQ_FIRST(&link->waiting); request; request = after) {
        after = TAILQ_NEXT(request, next);
        if (link->hold && !request->own)
            continue;
        if (!request->oob && (full || link_behind_own(request)))
            continue;
        if (link_may_send(link, request))
            link_transmit(link, request);
        else if (request->n_fds || link->exclusive || link->in_band >= LINK_SHARED_MAX)
            full = true; /* nobody overtakes one with descriptors either */
        if (link->state != LINK_READY)
            return;
    }
}

static struct request *request_new(char *text, size_t len, link_reply_cb *cb, void *arg)
{
    struct request *request = alloc_zeroed(1, sizeof(*request));
    const char *mark = memchr(text, LINK_ID_MARK[0], len);

    assert(mark);
    request->text = text;
    request->len = len;
    request->id_at = (size_t)(mark - text);
    request->cb = cb;
    request->arg = arg;
    return request;
}

/* Puts it where its turn is: behind everybody's requests of the same turn. */
static void link_enqueue(struct link *link, struct request *request)
{
    struct request *other, *behind = NULL;

    link = link_for(link, request);
    request->turn = link->turn;
    if (!request->own) {
        TAILQ_FOREACH(other, &link->sent, next)
            if (!other->own && other->asker == request->asker && other->turn >= request->turn)
                request->turn = other->turn + 1;
        TAILQ_FOREACH(other, &link->waiting, next)
            if (!other->own && other->asker == request->asker && other->turn >= request->turn)
                request->turn = other->turn + 1;
    }
    TAILQ_FOREACH_REVERSE(other, &link->waiting, request_queue, next) {
        if (request->own ? other->own : other->own || other->turn <= request->turn) {
            behind = other;
            break;
        }
    }
    if (behind)
        TAILQ_INSERT_AFTER(&link->waiting, behind, request, next);
    else
        TAILQ_INSERT_HEAD(&link->waiting, request, next);
    if (link->state == LINK_CLOSED)
        event_active(link->close_event, EV_TIMEOUT, 0);
    else
        link_pump(link);
}

void link_send(struct link *link, const void *asker, const char *text, size_t len, const int *fds,
               size_t n_fds, unsigned how, link_reply_cb *cb, void *arg)
{
    char *copy = alloc_bytes(len);
    struct request *request;

    assert(n_fds <= LINK_MAX_FDS);
    memcpy(copy, text, len);
    request = request_new(copy, len, cb, arg);
    request->asker = asker;
    request->oob = how & LINK_OOB;
    request->here = how & LINK_HERE;
    request->disturbs = how & LINK_DISTURBS;
    for (size_t i = 0; i < n_fds; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

        if (fd >= 0)
            request->fds[request->n_fds++] = fd;
    }
    link_enqueue(link, request);
}

void link_send_command(struct link *link, const char *command, const json_t *arguments, int fd,
                       link_reply_cb *cb, void *arg)
{
    char *dump = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    struct request *request;
    char *text;

    text = alloc_print("{\"execute\":\"%s\",\"id\":" LINK_ID_MARK "%s%s}", command,
                       dump ? ",\"arguments\":" : "", dump ? dump : "");
    if (arguments && !dump)
        abort();
    free(dump);
    request = request_new(text, strlen(text), cb, arg);
    request->own = true;
    if (fd >= 0) {
        request->fds[0] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        request->n_fds = request->fds[0] >= 0;
    }
    link_enqueue(link, request);
}

bool link_withdraw(struct link *link, void *arg)
{
    struct request *request, *after;
    bool found = false;

    for (request = TAILQ_FIRST(&link->waiting); request; request = after) {
        after = TAILQ_NEXT(request, next);
        if (request->arg == arg) {
            TAILQ_REMOVE(&link->waiting, request, next);
            request_free(request);
            found = true;
        }
    }
    if (link->bulk && link_withdraw(link->bulk, arg))
        found = true;
    link_bulk_answered(link);
    return found;
}

void link_forget(struct link *link, void *arg)
{
    struct request *request;

    link_withdraw(link, arg);
    TAILQ_FOREACH(request, &link->sent, next)
        if (request->arg == arg)
            request->cb = NULL;
    if (link->bulk)
        link_forget(link->bulk, arg);
}

void link_hold(struct link *link, bool hold)
{
    link->hold = hold;
    link_pump(link);
    if (link->bulk)
        link_hold(link->bulk, hold);
}

bool link_held(const struct link *link)
{
    return link->hold;
}

size_t link_in_flight(const struct link *link)
{
    const struct request *request;
    size_t n = 0;

    TAILQ_FOREACH(request, &link->sent, next)
        n += !request->own;
    return link->bulk ? n + link_in_flight(link->bulk) : n;
}

bool link_disturbed(const struct link *link)
{
    const struct request *request;

    TAILQ_FOREACH(request, &link->sent, next)
        if (request->disturbs)
            return true;
    TAILQ_FOREACH(request, &link->waiting, next)
        if (request->disturbs)
            return true;
    return link->bulk && link_disturbed(link->bulk);
}

void link_move_waiting(struct link *from, struct link *to)
{
    struct request *request, *after;

    for (request = TAILQ_FIRST(&from->waiting); request; request = after) {
        after = TAILQ_NEXT(request, next);
        TAILQ_REMOVE(&from->waiting, request, next);
        link_enqueue(to, request);
    }
    if (from->bulk)
        link_move_waiting(from->bulk, to);
}
