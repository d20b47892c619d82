/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client: one QMP client's connection.
 *
 * Model: bytes come in, are framed, and the owner makes a slot (slot.h) of each message.  While the
 * slots are full, or the owner has blocked the client, nothing more is read from it, as QEMU would
 * do.
 *
 * Descriptors: those of the latest message that carried any belong to the next command that takes
 * one (chardev/char-socket.c, tcp_chr_recv); older ones are closed.
 *
 * Limits: clients share one struct client_limits.  Who goes beyond what one client may have, or
 * holds the most when all of them together hold too much, is told so in an error without id that
 * names the limit, behind what was sent in part before; then it is closed.
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "proxy/fdpass.h"
#include "qmp/framer.h"
#include "qmp/message.h"

struct client;
struct slot;

/* Sizes are in bytes. */
struct client_limits {
    size_t max_clients;
    size_t max_request;         /* one message of a client; 0: QEMU's own limit */
    size_t max_unread;          /* what waits for a client that does not read */
    size_t max_memory;          /* all that is held for all clients, both ways */
    size_t n_clients, memory;   /* as it is now */
    LIST_HEAD(, client) clients;
};

struct client_ops {
    /* A frame that is not a message (an error), or a message. */
    void (*frame)(void *arg, struct client *client, struct frame *frame);
    /* A slot that was kept (slot_begin) may go on; text is the message, borrowed. */
    void (*start)(void *arg, struct slot *slot, const char *text, size_t len);
    /* A slot (that is not local) will not be answered to anybody: the owner stops what can be
     * stopped, and then frees it with slot_free() or keeps it until its answer. */
    void (*abandoned)(void *arg, struct slot *slot);
    /* It is gone after this. */
    void (*closed)(void *arg, struct client *client);
};

/* Reads from fd and writes to fd_out, which may be the same; steals both.  limits are borrowed and
 * outlive the client. */
struct client *client_new(struct event_base *base, int fd, int fd_out, struct client_limits *limits,
                          const struct client_ops *ops, void *arg);

/* Sends what the socket takes at once, and frees it at the next turn of the loop. */
void client_close(struct client *client, const char *why);

/* Says why in an error without id, waits a little until that is read, and closes. */
void client_refuse(struct client *client, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends a line outside of the order of slots: the greeting, an event. */
void client_send(struct client *client, const char *line, size_t len);

/* Stops and resumes taking messages from the client. */
void client_block(struct client *client, bool block);

/* Moves the descriptors that came last to the slot. */
void client_give_fds(struct client *client, struct slot *slot);

/* The clients there are, the latest first; NULL behind the last.  One that is closed stays until the
 * next turn of the loop. */
struct client *client_first(const struct client_limits *limits);
struct client *client_next(const struct client *client);

/* The owner's state of the session. */
struct client_session {
    bool greeted, negotiated, oob;
    bool pretty;                /* lines are printed as QEMU does with pretty=on */
};
struct client_session *client_session(struct client *client);
const struct client_limits *client_limits(const struct client *client);

#endif
