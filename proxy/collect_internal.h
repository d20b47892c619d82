/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * collect_internal: what collect.c (QEMU's answers) and collect_files.c (the host's files) share.
 */
#ifndef PROXY_COLLECT_INTERNAL_H
#define PROXY_COLLECT_INTERNAL_H

#include "proxy/collect.h"
#include "proxy/collect_fit.h"

enum collect_query {
    COLLECT_STATUS,
    COLLECT_BLOCKS,
    COLLECT_NODES,
    COLLECT_GRAPH,
    COLLECT_JOBS,
    COLLECT_CAPABILITIES,
    COLLECT_PARAMETERS,
    COLLECT_MIGRATION,
    COLLECT_DEVICES,
    COLLECT_ANONYMOUS,
    COLLECT_FIT,                /* the first of fit_queries */
    COLLECT__COUNT = COLLECT_FIT + FIT_QUERIES
};

struct collect_slot {
    struct collect *collect;
    enum collect_query query;
};

struct collect {
    struct daemon *daemon;
    json_t *state;
    collect_cb *cb;
    void *arg;
    struct world world;
    json_t *program_of;         /* the snapshot whose program is looked at, or NULL */
    json_t *answers[COLLECT__COUNT];
    struct collect_slot slots[COLLECT__COUNT];
    unsigned outstanding;
    bool asked_more;            /* what only the first answers say how to ask for */
    bool cancelled;
    struct event *watchdog;
    struct err err;
};

void collect_free(struct collect *collect);
/* Calls back with collect->err, unless nobody waits for it any more, and frees it. */
void collect_fail(struct collect *collect);

/* The last part: looks at the files, calls back, and frees it. */
void collect_inspect(struct collect *collect);

#endif
