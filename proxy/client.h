/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client: one QMP client's connection.
 *
 * Model: bytes come in, are framed, and each message becomes a slot.  Slots are answered in the
 * order in which they came (QMP's promise for in-band commands), whoever answers them and when;
 * an out-of-band command's slot overtakes.  The owner is told of each message and answers its slot,
 * at once or later.  While CLIENT_SLOTS_MAX are open, or the owner has blocked the client, nothing
 * more is read from it, as QEMU would do.
 *
 * Descriptors: those of the latest message that carried any belong to the next command that takes
 * one (chardev/char-socket.c, tcp_chr_recv); older ones are closed.
 *
 * A client that does not read what it is sent is closed when CLIENT_OUT_MAX bytes wait for it.
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "proxy/fdpass.h"
#include "qmp/framer.h"
#include "qmp/message.h"

#define CLIENT_SLOTS_MAX 8
#define CLIENT_OUT_MAX (16u << 20)

struct client;

/* A question that was asked.  Freed when it is answered, or by client_close(). */
struct slot {
    struct client *client;      /* NULL: the client has gone, nobody waits for the answer */
    struct span id;             /* at is NULL without one; owned */
    void *data;                 /* the owner's, borrowed */
    bool oob;
    bool local;                 /* will be answered by us, whatever becomes of the client */
    struct slot_private *private;
};

struct client_ops {
    /* A frame that is not a message (an error), or a message. */
    void (*frame)(void *arg, struct client *client, struct frame *frame);
    /* A slot (that is not local) will not be answered to anybody: the owner stops what can be stopped, and then frees
     * it with slot_free() or keeps it until its answer. */
    void (*abandoned)(void *arg, struct slot *slot);
    /* It is gone after this. */
    void (*closed)(void *arg, struct client *client);
};

struct client *client_new(struct event_base *base, int fd, const struct client_ops *ops, void *arg);
/* Sends what the socket takes at once, and frees it at the next turn of the loop. */
void client_close(struct client *client, const char *why);

/* Sends a line outside of the order of slots: the greeting, an event. */
void client_send(struct client *client, const char *line, size_t len);

/* A slot for a message; its id (message->id) is copied.  message NULL: no id. */
struct slot *slot_new(struct client *client, const struct message *message);
/* Answers with a whole line, and frees the slot. */
void slot_answer(struct slot *slot, const char *line, size_t len);
void slot_free(struct slot *slot);

/* Stops and resumes taking messages from the client. */
void client_block(struct client *client, bool block);

/* The descriptors that came last; the caller then owns them. */
size_t client_take_fds(struct client *client, int fds[FDPASS_MAX]);

/* The owner's state of the session. */
struct client_session {
    bool greeted, negotiated, oob;
    bool pretty;                /* lines are printed as QEMU does with pretty=on */
};
struct client_session *client_session(struct client *client);

#endif
