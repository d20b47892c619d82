/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link_internal: what link.c (the connection) and link_queue.c (the requests) share.
 */
#ifndef PROXY_LINK_INTERNAL_H
#define PROXY_LINK_INTERNAL_H

#include <event2/buffer.h>
#include <sys/queue.h>

#include "proxy/link.h"
#include "qmp/framer.h"

struct request {
    TAILQ_ENTRY(request) next;
    unsigned id;
    char *text;
    size_t len, id_at;          /* where the mark stands */
    int fds[LINK_MAX_FDS];
    size_t n_fds;
    bool oob, own;
    bool here, disturbs;        /* LINK_HERE, LINK_DISTURBS */
    const void *asker;
    unsigned long turn;
    link_reply_cb *cb;          /* NULL: nobody waits any more */
    void *arg;
};

TAILQ_HEAD(request_queue, request);

enum link_state { LINK_GREETING, LINK_NEGOTIATING, LINK_READY, LINK_CLOSED };

struct link {
    struct event_base *base;
    int fd;
    struct event *read_event, *write_event, *close_event;
    struct framer *framer;
    struct evbuffer *out;
    struct request_queue waiting, sent;
    struct link *bulk;          /* another connection to the same QEMU, or NULL; owned */
    bool is_bulk;
    size_t in_band;             /* of the sent ones */
    bool exclusive;             /* the one in flight carries descriptors */
    bool hold;
    unsigned long turn;         /* of the last request that was sent */
    const void *last_asker;     /* whose it was; only compared */
    struct timeval shared;      /* when somebody else's was sent last */
    unsigned next_id;
    enum link_state state;
    char *greeting;
    bool has_oob;
    char hello[48];
    const struct link_ops *ops;
    void *arg;
};

/* Ends the connection; the owner hears of it from the loop. */
void link_close(struct link *link, const char *why);

/* Writes what is buffered; fds go with the first byte of it. */
void link_flush(struct link *link, const int *fds, size_t n_fds);

/* Sends as much of what waits as may be sent now. */
void link_pump(struct link *link);

void request_free(struct request *request);

/* Answers all in the queue with ANSWER_LOST. */
void link_lose(struct request_queue *queue);

/* The connection that the request is for: this one, or that of large requests. */
struct link *link_for(struct link *link, const struct request *request);
/* One of its requests was answered: a bulk connection ends with the last. */
void link_bulk_answered(struct link *link);
/* What went over the bulk connection is lost. */
void link_bulk_lose(struct link *link);

#endif
