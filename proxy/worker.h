/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker: runs one blocking function at a time in a thread, so that the event loop never waits for
 * a disk.
 *
 * Model: worker_run() hands a function and its arguments to the thread; when the function has
 * returned, done() is called in the event loop, never inside worker_run().  The function works on
 * the arguments it was given and on nothing else (jansson values are not shared: a deep copy goes
 * in).  Several requests are run in order.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

struct worker;

/* What the thread runs.  *result is new, or stays NULL. */
typedef bool worker_fn(const json_t *args, json_t **result, struct err *err);

/* ok: what the function returned.  result and err are borrowed until done() returns. */
typedef void worker_done_cb(void *arg, bool ok, json_t *result, struct err *err);

struct worker *worker_new(struct event_base *base);

/* Waits for what is running; done() of what is still queued is not called. */
void worker_free(struct worker *worker);

void worker_run(struct worker *worker, worker_fn *fn, const json_t *args, worker_done_cb *done,
                void *arg);

#endif
