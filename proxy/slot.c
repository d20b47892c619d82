/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/client_internal.h"
#include "qmp/alloc.h"

struct slot *slot_new(struct client *client, const struct message *message)
{
    struct slot_private *slot = alloc_zeroed(1, sizeof(*slot));

    slot->slot.client = client;
    slot->slot.private = slot;
    if (message && message->has_id) {
        slot->id_text = span_dup(message->id);
        slot->slot.id = (struct span){ slot->id_text, message->id.len };
        slot->size = message->id.len;
    }
    slot->slot.oob = message && message->oob;
    slot->size += message ? message->text.len : 0;
    client->slots_size += slot->size;
    TAILQ_INSERT_TAIL(&client->slots, slot, next);
    if (slot->slot.oob)
        client->n_oob++;
    else
        client->n_in_band++;
    return &slot->slot;
}

void slot_close_fds(struct slot *slot)
{
    while (slot->n_fds > 0)
        close(slot->fds[--slot->n_fds]);
}

static void slot_destroy(struct slot_private *slot)
{
    slot_close_fds(&slot->slot);
    free(slot->id_text);
    free(slot->kept);
    free(slot->line);
    free(slot);
}

void slot_free(struct slot *slot)
{
    struct client *client = slot->client;

    if (client) {
        TAILQ_REMOVE(&client->slots, slot->private, next);
        client->slots_size -= slot->private->size + slot->private->len;
        if (slot->oob)
            client->n_oob--;
        else
            client->n_in_band--;
    }
    slot_destroy(slot->private);
}

/* The first slot that has not begun, if it may. */
static struct slot_private *slot_next(const struct client *client)
{
    bool open = false, exclusive = false;
    struct slot_private *slot;

    TAILQ_FOREACH(slot, &client->slots, next) {
        if (slot->line || slot->slot.oob)
            continue;
        if (slot->waits)
            return open && (slot->exclusive || exclusive) ? NULL : slot;
        open = true;
        exclusive |= slot->exclusive;
    }
    return NULL;
}

bool slot_begin(struct slot *slot, struct span text, bool exclusive)
{
    struct slot_private *private = slot->private;

    private->exclusive = exclusive;
    if (slot->oob)
        return true;
    private->waits = true;
    if (slot_next(slot->client) == private) {
        private->waits = false;
        return true;
    }
    private->kept = span_dup(text);
    private->kept_len = text.len;
    return false;
}

bool slot_client_gone(const struct client *client)
{
    struct pollfd poller = { .fd = client->fd };

    /* A pipe hangs up when its writer has said all. */
    return client->socket && poll(&poller, 1, 0) == 1 && (poller.revents & (POLLHUP | POLLERR));
}

void slot_begin_kept(struct client *client)
{
    struct slot_private *slot;

    while (!client->closing && !client->refused && !client->blocked &&
           (slot = slot_next(client))) {
        char *text = slot->kept;

        /* What has not begun is dropped, as QEMU does. */
        if (slot_client_gone(client)) {
            client_close(client, "hung up");
            return;
        }
        slot->kept = NULL;
        slot->waits = false;
        client->ops->start(client->arg, &slot->slot, text, slot->kept_len);
        free(text);
    }
}

bool slot_room(const struct client *client)
{
    return client->n_in_band < SLOT_IN_BAND_MAX && client->n_oob < SLOT_OOB_MAX;
}

/* Sends the answers before which all others are sent. */
static void slot_send_due(struct client *client)
{
    struct slot_private *first;

    while ((first = TAILQ_FIRST(&client->slots)) && first->line) {
        client_put(client, first->line, first->len);
        slot_free(&first->slot);
    }
    if (!client->processing)
        client_flush(client);
    client_resume(client);
}

void slot_answer(struct slot *slot, const char *line, size_t len)
{
    struct client *client = slot->client;

    if (!client || client->closing || client->refused) {
        slot_free(slot);
        return;
    }
    /* An out-of-band command overtakes those before it; QEMU reads on only when it is done, so that
     * those behind it wait for it. */
    if (slot->oob || slot->private == TAILQ_FIRST(&client->slots)) {
        client_put(client, line, len);
        slot_free(slot);
    } else {
        slot->private->line = alloc_bytes(len);
        memcpy(slot->private->line, line, len);
        slot->private->len = len;
        client->slots_size += len;
    }
    slot_send_due(client);
}

void slot_drop_all(struct client *client)
{
    struct slot_private *slot;

    while ((slot = TAILQ_FIRST(&client->slots))) {
        TAILQ_REMOVE(&client->slots, slot, next);
        slot->slot.client = NULL;
        if (slot->line || slot->waits)
            slot_destroy(slot); /* answered, but an earlier one was not; or never begun */
        else if (!slot->slot.local)
            client->ops->abandoned(client->arg, &slot->slot);
    }
}
