/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of the runner that knows of the guest's standstill: when it has to be stopped because a job
 * does not catch up with it, and for how long it was. */
#include <string.h>
#include <time.h>

#include "policy/plan.h"
#include "policy/state.h"
#include "proxy/log.h"
#include "proxy/runner_internal.h"

long long runner_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/* ---- for how long ---- */

static const char *runner_execute(const json_t *step)
{
    const char *execute = state_str(json_object_get(step, "command"), "execute");

    return execute ? execute : "";
}

/* It counts from the first stop: the plan's own finds the guest stopped when it was for a stall. */
void runner_answered(struct runner *runner, const json_t *step)
{
    struct runner_standstill *standstill = runner->standstill;

    if (strcmp(runner_execute(step), "stop") == 0 && !standstill->since)
        standstill->since = runner_now();
}

void runner_verified(struct runner *runner, const json_t *step)
{
    struct runner_standstill *standstill = runner->standstill;

    runner_answered(runner, step); /* a stop that was refused, or has lost its answer */
    if (strcmp(runner_execute(step), "cont") != 0 || !standstill->since)
        return;
    standstill->sum += runner_now() - standstill->since;
    standstill->ended = true;
    standstill->since = 0;
}

json_int_t runner_standstill_ms(const struct runner_standstill *standstill)
{
    return standstill->ended && !standstill->since ? (standstill->sum + 500) / 1000 : -1;
}

/* ---- a job that does not get there ---- */

static const json_t *runner_stall_job(const json_t *step, const json_t *reply)
{
    const json_t *expect = json_object_get(step, "expect");
    const json_t *job;
    size_t i;

    if (strcmp(state_str(expect, "is"), "job") != 0)
        return NULL;
    json_array_foreach((json_t *)reply, i, job) {
        const char *id = state_str(job, "id");

        if (id && strcmp(id, state_str(expect, "id")) == 0)
            return job;
    }
    return NULL;
}

/* Has nothing been gained for that long?  A job that is paused, or has nothing left or not yet anything
 * to do, is not one that the guest outruns. */
static bool runner_stall_due(struct runner *runner, const json_t *job, json_int_t after_ms)
{
    json_int_t left = json_integer_value(json_object_get(job, "total-progress")) -
                      json_integer_value(json_object_get(job, "current-progress"));
    const char *status = state_str(job, "status");
    long long now = runner_now();

    if (!status || strcmp(status, "running") != 0 || (left <= 0 && after_ms > 0)) {
        runner->least_since = now;
        return false;
    }
    if (runner->least < 0 || left < runner->least) {
        runner->least = left;
        runner->least_since = now;
    }
    return now - runner->least_since >= after_ms * 1000;
}

static void runner_stall_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                            const struct message_reply *reply)
{
    struct runner *runner = arg;
    const json_t *stall = json_object_get(runner_current(runner), "stall");
    struct err err = ERR_INIT;

    (void)text;
    (void)len;
    if (runner->phase != RUNNER_STALLING)
        return;
    event_del(runner->watchdog);
    if (answer == ANSWER_ERROR) {
        runner_set_refused(&err, runner_execute(stall), NULL, reply);
        log_warn("%s: %s", state_str(runner_current(runner), "step"), err.desc);
        err_clear(&err);
    } else if (answer == ANSWER_RETURN) {
        runner_answered(runner, stall);
    }
    runner_poll_soon(runner); /* which finds out as well that QEMU has gone */
}

bool runner_stall(struct runner *runner, const json_t *reply)
{
    json_t *step = json_array_get(runner->list, runner->at);
    const json_t *stall = json_object_get(step, "stall"), *job;
    const json_t *command = json_object_get(stall, "command");
    struct link *link = runner->env->link(runner->arg, state_str(step, "on"));
    struct err err = ERR_INIT;

    if (!stall || json_is_true(json_object_get(step, "stalled")) || !link || !link_ready(link))
        return false;
    job = runner_stall_job(step, reply);
    if (!job || !runner_stall_due(runner, job, json_integer_value(json_object_get(stall, "after"))))
        return false;
    json_object_set_new(step, "stalled", json_true());
    /* Nobody would know that the guest has to go on; and without it the step may never end. */
    if (!runner_write_journal(runner, &err)) {
        json_object_del(step, "stalled");
        runner_fail(runner, &err);
        return true;
    }
    log_info("step %s: it does not catch up with the guest: '%s'", state_str(step, "step"),
             runner_execute(stall));
    runner->phase = RUNNER_STALLING;
    runner_watch(runner);
    link_send_command(link, state_str(command, "execute"), json_object_get(command, "arguments"), -1,
                      runner_stall_cb, runner);
    return true;
}
