/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slot: a question of a client, in its place among the client's others.
 *
 * Model: each message becomes a slot.  Slots are answered in the order in which they came (QMP's
 * promise for in-band commands), whoever answers them and when; an out-of-band command's slot
 * overtakes those before it.
 *
 * They also begin in that order.  QEMU runs one in-band command of a monitor at a time and drops
 * those that it has not begun when the client goes.  Here a slot that is exclusive begins when all
 * before it are answered, and those behind it when it is; what only asks need not be exclusive.
 * Until then the text of its message is kept.
 *
 * Fact: with oob QEMU goes on reading until one command runs and 8 wait (monitor/qmp.c,
 * QMP_REQ_QUEUE_LEN_MAX), and so does SLOT_IN_BAND_MAX.
 */
#ifndef PROXY_SLOT_H
#define PROXY_SLOT_H

#include "proxy/client.h"

#define SLOT_IN_BAND_MAX 9
#define SLOT_OOB_MAX 8

/* Freed when it is answered, or when its client closes. */
struct slot {
    struct client *client;      /* NULL: the client has gone, nobody waits for the answer */
    struct span id;             /* at is NULL without one; owned */
    void *data;                 /* the owner's, borrowed */
    int fds[FDPASS_MAX];        /* descriptors that go with it; owned */
    size_t n_fds;
    bool oob;
    bool local;                 /* will be answered by us, whatever becomes of the client */
    struct slot_private *private;
};

/* For a message; its id (message->id) is copied.  message NULL: no id. */
struct slot *slot_new(struct client *client, const struct message *message);

/* May it go on now?  If not, the message is copied and client_ops.start() comes when it may. */
bool slot_begin(struct slot *slot, struct span text, bool exclusive);

/* Answers with a whole line, and frees the slot. */
void slot_answer(struct slot *slot, const char *line, size_t len);
void slot_free(struct slot *slot);
void slot_close_fds(struct slot *slot);

#endif
