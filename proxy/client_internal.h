/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client_internal: what client.c (the connection) and slot.c (the questions) share.
 */
#ifndef PROXY_CLIENT_INTERNAL_H
#define PROXY_CLIENT_INTERNAL_H

#include <event2/buffer.h>

#include "proxy/slot.h"

struct slot_private {
    struct slot slot;
    TAILQ_ENTRY(slot_private) next;
    char *id_text;
    bool exclusive, waits;      /* waits: has not begun */
    char *kept;                 /* the message, while it waits */
    size_t kept_len;
    size_t size;                /* of the message and its id */
    char *line;                 /* the answer, while an earlier slot is still open */
    size_t len;
};

TAILQ_HEAD(slot_queue, slot_private);

struct client {
    LIST_ENTRY(client) all;
    struct client_limits *limits;
    int fd, fd_out;
    int flags, flags_out;       /* as they were (F_GETFL) */
    struct event *read_event, *write_event, *close_event, *resume_event, *linger_event;
    struct framer *framer;
    struct evbuffer *in, *out;
    int fds[FDPASS_MAX];
    size_t n_fds;
    struct slot_queue slots;
    size_t n_in_band, n_oob;    /* slots that are open */
    size_t slots_size;          /* bytes that they hold */
    size_t counted;             /* of limits->memory */
    bool blocked, eof, closing, socket;
    bool refused;               /* is only sent why, then closed */
    bool processing;
    struct client_session session;
    const struct client_ops *ops;
    void *arg;
};

/* Queues a line; client_flush() sends. */
void client_put(struct client *client, const char *line, size_t len);

/* Sends what the socket takes; looks at the limits. */
void client_flush(struct client *client);

/* Goes on with the client from the loop: begins slots, takes messages. */
void client_resume(struct client *client);

/* The same whatever state it is in, behind what has arrived for others: an event that is made active
 * would run before libevent looks at the sockets again. */
void client_go_on(struct client *client);

/* Keeps limits->memory, and closes who holds the most when it is too much. */
void client_count(struct client *client);
void client_make_room(struct client_limits *limits);

/* Begins what was kept and may begin now. */
void slot_begin_kept(struct client *client);

/* May one more slot be opened? */
bool slot_room(const struct client *client);

/* Has the other end closed both ways? */
bool slot_client_gone(const struct client *client);

/* The client has gone: each of its slots is dropped or handed to its owner. */
void slot_drop_all(struct client *client);

#endif
