/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link: the one connection to a QEMU process, shared by all clients and by the proxy itself.
 *
 * Model: link_send() queues a request that is framed JSON text with the byte LINK_ID_MARK in place of
 * its id (no valid JSON text has that byte); the link gives it an id of its own, sends a few at a time (QEMU reads nothing more once 8 are queued, and an
 * exec-oob of another client must still get through: monitor/qmp.c, QMP_REQ_QUEUE_LEN_MAX) and
 * calls back with QEMU's answer.  Every request is answered exactly once: by QEMU, or with
 * ANSWER_LOST when the connection ends.  An answer never arrives inside link_send().
 *
 * Who asks takes turns with the others: an asker's n-th waiting request is sent after everybody's
 * (n-1)-th, and while several ask QEMU has one of each at a time.  The proxy's own requests come
 * first.
 *
 * QEMU reads a monitor byte by byte, some 300 kB/s.  A large request goes over a connection of its own
 * where QEMU has a second monitor for that, so that nobody waits behind it.
 *
 * Requests that carry descriptors travel alone: with oob enabled QEMU reads ahead and would give
 * the descriptors to the wrong command (QEMU-FACTS, "The monitor").
 *
 * Answers with an id that is not pending belong to a proxy that was here before, and are dropped.
 */
#ifndef PROXY_LINK_H
#define PROXY_LINK_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "qmp/err.h"
#include "qmp/message.h"

#define LINK_MAX_FDS 16
#define LINK_ID_MARK "\x01"

struct link;

enum link_answer { ANSWER_RETURN, ANSWER_ERROR, ANSWER_LOST };

/* text (and reply, its scan) are borrowed until the return; NULL for ANSWER_LOST. */
typedef void link_reply_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                           const struct message_reply *reply);

/* new: the value of a good answer, for such a callback; NULL: it was none, or jansson cannot hold it. */
json_t *link_reply_value(enum link_answer answer, const struct message_reply *reply);

struct link_ops {
    /* Greeting seen and capabilities negotiated. */
    void (*ready)(void *arg);
    void (*event)(void *arg, const char *text, size_t len, const struct message_reply *reply);
    /* The connection has ended, or something was sent after that.  What QEMU had been sent was
     * answered with ANSWER_LOST before; what waits is the owner's to lose or to move.  The link may be
     * freed from here. */
    void (*closed)(void *arg);
    /* new: one more connection to the same QEMU, for large requests; -1: there is none.  May be
     * NULL. */
    int (*connect_bulk)(void *arg);
};

/* Takes a connected, non-blocking socket over (steals fd). */
struct link *link_new(struct event_base *base, int fd, const struct link_ops *ops, void *arg);
void link_free(struct link *link);

bool link_ready(const struct link *link);

/* The line that QEMU greeted with, without the line end; borrowed; "" before it came. */
const char *link_greeting(const struct link *link);

/* Does QEMU offer out-of-band execution? */
bool link_has_oob(const struct link *link);

/* How a request goes: out of band; not over the connection for large ones (what it needs is known to
 * this one); it may change what an operation relies on. */
enum { LINK_OOB = 1, LINK_HERE = 2, LINK_DISTURBS = 4 };

/* Sends a request.  text: one JSON object, compact, with its id marked.  fds are duplicated.  asker
 * (only compared) is whose turn it is: askers take turns, however much one of them asks. */
void link_send(struct link *link, const void *asker, const char *text, size_t len, const int *fds,
               size_t n_fds, unsigned how, link_reply_cb *cb, void *arg);

/* {"execute": command, "arguments": arguments}; arguments (borrowed) may be NULL. */
void link_send_command(struct link *link, const char *command, const json_t *arguments, int fd,
                       link_reply_cb *cb, void *arg);

/* arg is going away: its requests that are still waiting here vanish, its answers are dropped. */
void link_forget(struct link *link, void *arg);

/* Takes arg's requests back that have not been sent; false when none was still here. */
bool link_withdraw(struct link *link, void *arg);

/* While held nothing more is sent, except by link_send_command(). */
void link_hold(struct link *link, bool hold);
bool link_held(const struct link *link);

/* Does a request with LINK_DISTURBS wait, here or for its answer? */
bool link_disturbed(const struct link *link);

/* Requests that QEMU has and has not answered. */
size_t link_in_flight(const struct link *link);

/* Closes the connection, if nothing is under way on it. */
bool link_end_idle(struct link *link);

/* Answers what waits here with ANSWER_LOST. */
void link_lose_waiting(struct link *link);

/* Moves the requests that still wait here to another link, in order. */
void link_move_waiting(struct link *from, struct link *to);

#endif
