/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_qemu: a QEMU in the test's own event loop, for what sends commands over a link.
 *
 * Model: it greets, negotiates and answers on one end of a socket pair.  vm is what it has: status,
 * nodes, jobs, what each disk sits on, the migration and its settings; a few commands change it as
 * QEMU does, the rest are answered with {}.  One command (queries are not counted) can go wrong.
 */
#ifndef TESTS_UNIT_FAKE_QEMU_H
#define TESTS_UNIT_FAKE_QEMU_H

#include "tests/unit/json_text.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>

#include "proxy/link.h"

enum fake_trouble {
    FAKE_FINE,
    FAKE_REFUSE,            /* an error, and nothing happens */
    FAKE_DONE_REFUSED,      /* an error, but it happens */
    FAKE_IGNORE,            /* a good answer, and nothing happens */
    FAKE_CUT_BEFORE,        /* the connection ends, and nothing happens */
    FAKE_CUT_AFTER,         /* the connection ends when it has happened */
    FAKE_SILENT,            /* it happens, and no answer ever comes */
    FAKE_LATE,              /* it happens, and QEMU does nothing more for FAKE_LATE_MS; then it
                             * answers, and goes on with what has come meanwhile */
    FAKE__COUNT
};

extern const char *const fake_trouble_name[FAKE__COUNT];

#define FAKE_LATE_MS 150

struct fake_qemu {
    struct event_base *base;
    struct link *link;      /* the proxy's end */
    json_t *vm;             /* { status, nodes: {name: true}, jobs: {id: status},
                             *   disks: {device: node}, migration, ram?, capabilities, parameters,
                             *   progress?: {id of job: {current-progress, total-progress}} } */
    json_t *log;            /* names of the commands that came, without queries */
    size_t at;              /* the command that goes wrong, by its number */
    enum fake_trouble trouble;
    bool deaf;              /* queries are not answered */
    void (*asked)(struct fake_qemu *fake, const char *query, void *arg); /* may change vm; or NULL */
    void *asked_arg;
    /* private */
    int fd;
    struct event *read_event, *late_event;
    struct evbuffer *in;
    char *late;
    bool ready;
};

/* vm is stolen.  Returns when the link is ready. */
struct fake_qemu *fake_new(struct event_base *base, json_t *vm);
void fake_free(struct fake_qemu *fake);

/* Ends the connection. */
void fake_close(struct fake_qemu *fake);

#endif
