/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large requests: a connection of their own, while there are any. */
#include <stdlib.h>

#include "proxy/link_internal.h"

/* QEMU takes about 50 ms to read so much, one byte at a time. */
#define LINK_BULK_SIZE 16384

static void link_bulk_ready(void *arg)
{
    (void)arg;
}

static void link_bulk_event(void *arg, const char *text, size_t len,
                            const struct message_reply *reply)
{
    /* The other connection has it as well. */
    (void)arg;
    (void)text;
    (void)len;
    (void)reply;
}

static void link_bulk_closed(void *arg)
{
    struct link *link = arg, *bulk = link->bulk;

    link->bulk = NULL;
    link_lose_waiting(bulk);
    link_free(bulk);
}

static const struct link_ops link_bulk_ops = {
    .ready = link_bulk_ready,
    .event = link_bulk_event,
    .closed = link_bulk_closed,
};

struct link *link_for(struct link *link, const struct request *request)
{
    int fd;

    if (request->len < LINK_BULK_SIZE || request->own || request->oob || request->here ||
        link->is_bulk || !link->ops->connect_bulk)
        return link;
    if (link->bulk)
        return link->bulk->state == LINK_CLOSED ? link : link->bulk;
    fd = link->ops->connect_bulk(link->arg);
    if (fd < 0)
        return link;
    link->bulk = link_new(link->base, fd, &link_bulk_ops, link);
    link->bulk->is_bulk = true;
    link->bulk->hold = link->hold;
    return link->bulk;
}

void link_bulk_answered(struct link *link)
{
    if (link->is_bulk && TAILQ_EMPTY(&link->sent) && TAILQ_EMPTY(&link->waiting))
        link_close(link, "all large requests are answered");
}

void link_bulk_lose(struct link *link)
{
    if (!link->bulk)
        return;
    link_lose(&link->bulk->sent);
    link_lose(&link->bulk->waiting);
}
