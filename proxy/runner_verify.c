/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The half of the runner that asks QEMU whether a step is done. */
#include <stdlib.h>
#include <string.h>

#include "policy/expect.h"
#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/runner_internal.h"

/* Verification is asked again after 1 ms, 2 ms, ... */
#define RUNNER_POLL_MIN_MS 1
#define RUNNER_POLL_MAX_MS 50

void runner_take_refusal(struct runner *runner, struct err *err)
{
    if (err->set)
        err_clear(err);
    err_move(err, &runner->refusal);
}

void runner_job_ended(struct runner *runner, const json_t *data, bool cancelled)
{
    json_t *job = json_pack("{s:O, s:O, s:s, s:O, s:O}", "id", json_object_get(data, "device"), "type",
                            json_object_get(data, "type"), "status", "concluded",
                            "current-progress", json_object_get(data, "offset"), "total-progress",
                            json_object_get(data, "len"));

    if (!job)
        return; /* it is no such event */
    if (json_object_get(data, "error"))
        json_object_set(job, "error", json_object_get(data, "error"));
    else if (cancelled)
        json_object_set_new(job, "error", json_string("It was cancelled"));
    json_array_insert_new(runner->ended, 0, job); /* an id may come again */
}

/* new: the jobs, and those that QEMU lists no more although the step waits to see how they ended. */
static json_t *runner_jobs(const struct runner *runner, const json_t *expect, const json_t *reply)
{
    json_t *all = json_copy((json_t *)reply);

    if (!state_list_has(json_object_get(expect, "in"), "null")) /* else it may be gone */
        json_array_extend(all, runner->ended);
    return all;
}

static void runner_verdict(struct runner *runner, const json_t *reply)
{
    const json_t *step = runner_current(runner);
    const json_t *expect = json_object_get(step, "expect");
    struct err err = ERR_INIT;
    enum expect_verdict verdict;

    event_del(runner->watchdog);
    if (runner->probing) {
        runner_probed(runner, reply);
        return;
    }
    verdict = expect_check(expect, reply, &err);
    runner_progress_reply(runner, expect, reply);
    if (verdict == EXPECT_YES) {
        err_clear(&runner->refusal);
        runner_verified(runner, step);
        runner_step_done(runner);
        return;
    }
    if (runner->refusal.set) {
        runner_take_refusal(runner, &err);
    } else if (verdict == EXPECT_WAIT && runner->cancelled && runner_can_return(runner)) {
        err_set(&err, REASON_CANCELLED, "The operation was cancelled");
    } else if (verdict == EXPECT_WAIT && runner->deadline &&
               runner_now() > runner->deadline) {
        err_set(&err, REASON_TIMEOUT, "QEMU did not do '%s' in time", state_str(step, "step"));
    } else if (verdict == EXPECT_WAIT && runner_stall(runner, reply)) {
        return;
    } else if (verdict == EXPECT_WAIT) {
        runner->phase = RUNNER_POLLING;
        runner_later(runner, runner->poll_ms);
        if (runner->poll_ms < RUNNER_POLL_MAX_MS)
            runner->poll_ms *= 2;
        return;
    } else if (!expect_is_refusal(&err)) {
        err.reason = REASON_QEMU_FAILED;
    }
    runner_fail(runner, &err);
}

/* new: the answers as the expectation wants them. */
static json_t *runner_whole(const struct runner *runner)
{
    const json_t *expect = json_object_get(runner_current(runner), "expect");
    const json_t *first = json_array_get(runner->replies, 0);
    json_t *queries = expect_queries(expect), *query, *whole = NULL;
    size_t i;

    if (json_is_array(first) && strcmp(expect_query(expect), "query-jobs") == 0)
        whole = runner_jobs(runner, expect, first);
    else if (!state_str(json_array_get(queries, 0), "as"))
        whole = json_incref((json_t *)first);
    else
        whole = json_object();
    json_array_foreach(queries, i, query)
        if (state_str(query, "as"))
            json_object_set(whole, state_str(query, "as"), json_array_get(runner->replies, i));
    json_decref(queries);
    return whole;
}

/* One answer of a verification; the last one brings the verdict. */
static void runner_query_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                            const struct message_reply *reply)
{
    struct runner *runner = arg;
    struct err err = ERR_INIT;
    json_t *whole;

    (void)text;
    (void)len;
    if (runner->phase != RUNNER_VERIFYING)
        return;
    whole = link_reply_value(answer, reply);
    json_array_append_new(runner->replies, whole ? whole : json_null());
    if (--runner->outstanding > 0)
        return;
    whole = runner_whole(runner);
    if (json_is_null(whole)) {
        if (runner->refusal.set)
            runner_take_refusal(runner, &err);
        else
            err_set(&err, REASON_QEMU_FAILED, "QEMU did not answer a query");
        runner_fail(runner, &err);
    } else {
        runner_verdict(runner, whole);
    }
    json_decref(whole);
}

void runner_verify(struct runner *runner)
{
    const json_t *step = runner_current(runner);
    const json_t *expect = json_object_get(step, "expect");
    struct link *link = runner->env->link(runner->arg, state_str(step, "on"));
    json_t *queries, *query;
    struct err err = ERR_INIT;
    size_t i;

    if (!link || !link_ready(link)) {
        err_set(&err, REASON_QEMU_FAILED, "QEMU ended during '%s'", state_str(step, "step"));
        runner_fail(runner, &err);
        return;
    }
    queries = expect_queries(expect);
    if (json_array_size(queries) == 0) {
        json_decref(queries);
        runner_verdict(runner, expect);
        return;
    }
    runner->phase = RUNNER_VERIFYING;
    json_decref(runner->replies);
    runner->replies = json_array();
    runner_watch(runner);
    runner->outstanding = (unsigned)json_array_size(queries);
    json_array_foreach(queries, i, query)
        link_send_command(link, state_str(query, "execute"), json_object_get(query, "arguments"), -1,
                          runner_query_cb, runner);
    json_decref(queries);
}

void runner_poll_soon(struct runner *runner)
{
    runner->phase = RUNNER_POLLING;
    runner->poll_ms = RUNNER_POLL_MIN_MS;
    runner_later(runner, runner->poll_ms);
}

void runner_begin_verify(struct runner *runner)
{
    json_int_t timeout = json_integer_value(json_object_get(runner_current(runner), "timeout"));

    runner->poll_ms = RUNNER_POLL_MIN_MS;
    runner->least = -1;
    runner->deadline = timeout ? runner_now() + timeout * 1000 : 0;
    runner_verify(runner);
}

