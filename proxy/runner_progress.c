/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of the runner that says how far it is: one figure over all steps that move data.  A step
 * that has not begun counts with the bytes that the plan gives it, then with what its job says; a job
 * that was seen and is gone is done.  What is taken back is not counted down.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "proxy/runner_internal.h"
#include "qmp/alloc.h"

struct runner_part {
    const char *job;            /* its id, borrowed from the plan */
    bool seen;
    json_int_t current, total;
};

static void runner_report(struct runner *runner)
{
    json_int_t current = 0, total = 0;

    for (size_t i = 0; i < runner->n_parts; i++) {
        current += runner->parts[i].current;
        total += runner->parts[i].total;
    }
    /* A total that turns out to be smaller, or a job that begins anew. */
    if (current > runner->reported)
        runner->reported = current;
    runner->env->progress(runner->arg, runner->reported,
                          total > runner->reported ? total : runner->reported);
}

static bool runner_of_job(const json_t *expect)
{
    const char *is = state_str(expect, "is");

    return is && strcmp(is, "job") == 0 && state_str(expect, "id");
}

void runner_progress_start(struct runner *runner)
{
    size_t i, n = json_array_size(runner->list);
    json_t *step;

    runner->parts = alloc_zeroed(n + 1, sizeof(*runner->parts));
    json_array_foreach(runner->list, i, step) {
        const json_t *expect = json_object_get(step, "expect");

        if (json_is_true(json_object_get(step, "moves")) && runner_of_job(expect))
            runner->parts[runner->n_parts++] = (struct runner_part){
                .job = state_str(expect, "id"),
                .total = json_integer_value(json_object_get(step, "bytes")),
            };
    }
    if (runner->n_parts > 0)
        runner_report(runner);
}

/* A job that has just been made does not know yet how much there is to do. */
static bool runner_job_counts(const json_t *job)
{
    const char *status = state_str(job, "status");

    return json_integer_value(json_object_get(job, "total-progress")) > 0 ||
           (status && strcmp(status, "created") != 0 && strcmp(status, "running") != 0);
}

static void runner_part_set(struct runner_part *part, const json_t *job)
{
    json_int_t current = json_integer_value(json_object_get(job, "current-progress"));
    json_int_t total = json_integer_value(json_object_get(job, "total-progress"));

    part->total = total;
    part->current = current < total ? current : total;
}

static void runner_part_look(struct runner_part *part, const json_t *jobs)
{
    const json_t *job;
    size_t i;

    json_array_foreach((json_t *)jobs, i, job) {
        const char *id = state_str(job, "id");

        if (!id || strcmp(id, part->job) != 0)
            continue;
        if (runner_job_counts(job))
            runner_part_set(part, job);
        part->seen = true;
        return;
    }
    if (part->seen)
        part->current = part->total;
}

void runner_progress_reply(struct runner *runner, const json_t *expect, const json_t *reply)
{
    const json_t *ram = json_object_get(reply, "ram");

    if (ram) {
        json_int_t total = json_integer_value(json_object_get(ram, "total"));

        runner->env->progress(runner->arg,
                              total - json_integer_value(json_object_get(ram, "remaining")), total);
    }
    if (runner->undoing || runner->n_parts == 0 || !runner_of_job(expect))
        return;
    for (size_t i = 0; i < runner->n_parts; i++)
        runner_part_look(&runner->parts[i], reply);
    runner_report(runner);
}
