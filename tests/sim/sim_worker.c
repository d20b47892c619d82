/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proxy/worker.h without a thread: what was asked for is done in a turn of the loop, one at a time. */
#include "proxy/worker.h"

#include <stdlib.h>

struct worker_job {
    struct worker_job *next;
    worker_fn *fn;
    json_t *args;
    worker_done_cb *done;
    void *arg;
};

struct worker {
    struct event *event;
    struct worker_job *first;
};

static void worker_cb(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    struct worker_job *job = worker->first;
    struct timeval soon = { 0 };
    struct err err = ERR_INIT;
    json_t *result = NULL;
    bool ok;

    (void)fd;
    (void)what;
    worker->first = job->next;
    if (worker->first)
        event_add(worker->event, &soon);
    ok = job->fn(job->args, &result, &err);
    job->done(job->arg, ok, result, &err);
    err_clear(&err);
    json_decref(result);
    json_decref(job->args);
    free(job);
}

struct worker *worker_new(struct event_base *base)
{
    struct worker *worker = calloc(1, sizeof(*worker));

    worker->event = event_new(base, -1, 0, worker_cb, worker);
    return worker;
}

/* What was not begun is not done; whoever waits for it is told, to free what is his. */
void worker_free(struct worker *worker)
{
    struct worker_job *job;

    while ((job = worker->first)) {
        struct err err = ERR_INIT;

        worker->first = job->next;
        err_set(&err, NULL, "The proxy ends");
        job->done(job->arg, false, NULL, &err);
        err_clear(&err);
        json_decref(job->args);
        free(job);
    }
    event_free(worker->event);
    free(worker);
}

void worker_run(struct worker *worker, worker_fn *fn, const json_t *args, worker_done_cb *done, void *arg)
{
    struct worker_job *job = calloc(1, sizeof(*job)), **at = &worker->first;
    struct timeval soon = { 0 };

    *job = (struct worker_job){ NULL, fn, json_deep_copy(args), done, arg };
    while (*at)
        at = &(*at)->next;
    *at = job;
    event_add(worker->event, &soon);
}
