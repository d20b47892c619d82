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
    } else if (verdict == EXPECT_WAIT && runner->cancelled && !runner->undoing &&
               !runner->committed && !runner->forward) {
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
    } else {
        err.reason = REASON_QEMU_FAILED;
    }
    runner_fail(runner, &err);
}

/* One answer of a verification; the last one brings the verdict. */
static void runner_query_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                            const struct message_reply *reply)
{
    struct runner *runner = arg;
    static const char *const members[RUNNER_QUERIES] = { "nodes", "blocks", "graph" };
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
    if (json_array_size(runner->replies) == 1) {
        const json_t *expect = json_object_get(runner_current(runner), "expect");

        whole = json_incref(json_array_get(runner->replies, 0));
        if (json_is_array(whole) && strcmp(expect_query(expect), "query-jobs") == 0) {
            json_decref(whole);
            whole = runner_jobs(runner, expect, json_array_get(runner->replies, 0));
        }
    } else {
        whole = json_object();
        for (size_t i = 0; i < RUNNER_QUERIES; i++)
            json_object_set(whole, members[i], json_array_get(runner->replies, i));
    }
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
    const char *query = expect_query(expect);
    struct err err = ERR_INIT;

    if (!link || !link_ready(link)) {
        err_set(&err, REASON_QEMU_FAILED, "QEMU ended during '%s'", state_str(step, "step"));
        runner_fail(runner, &err);
        return;
    }
    if (!query) {
        runner_verdict(runner, json_object_get(step, "expect"));
        return;
    }
    runner->phase = RUNNER_VERIFYING;
    json_decref(runner->replies);
    runner->replies = json_array();
    runner_watch(runner);
    if (strcmp(query, "chain") == 0) {
        json_t *flat = json_pack("{s:b}", "flat", 1);

        runner->outstanding = RUNNER_QUERIES;
        link_send_command(link, "query-named-block-nodes", flat, -1, runner_query_cb, runner);
        link_send_command(link, "query-block", NULL, -1, runner_query_cb, runner);
        link_send_command(link, "x-debug-query-block-graph", NULL, -1, runner_query_cb, runner);
        json_decref(flat);
    } else {
        json_t *arguments = strcmp(query, "query-named-block-nodes") == 0
                                ? json_pack("{s:b}", "flat", 1)
                            : strcmp(query, "qom-list") == 0
                                ? json_pack("{s:s}", "path", EXPECT_DEVICES) : NULL;

        runner->outstanding = 1;
        link_send_command(link, query, arguments, -1, runner_query_cb, runner);
        json_decref(arguments);
    }
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

