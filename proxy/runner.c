/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/log.h"
#include "proxy/runner_internal.h"
#include "qmp/alloc.h"

/* Behind the commit point, and in what is undone, a step gets this many tries. */
#define RUNNER_TRIES 5
#define RUNNER_RETRY_MS 200

static void runner_step(struct runner *runner);

void runner_later(struct runner *runner, unsigned ms)
{
    struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 };

    event_add(runner->turn, &tv);
}

void runner_watch(struct runner *runner)
{
    const json_t *step = runner_current(runner);
    json_int_t ms = json_integer_value(json_object_get(step, "timeout"));
    json_int_t patience = json_integer_value(json_object_get(step, "patience"));
    struct timeval tv;

    if (ms <= 0 || ms > PLAN_TIMEOUT_MS)
        ms = PLAN_TIMEOUT_MS;
    if (patience > ms)
        ms = patience;
    tv = (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
    event_add(runner->watchdog, &tv);
}

const json_t *runner_current(const struct runner *runner)
{
    return json_array_get(runner->list, runner->at);
}

static void runner_end(struct runner *runner, enum runner_end end)
{
    runner->phase = RUNNER_ENDED;
    event_del(runner->turn);
    event_del(runner->watchdog);
    runner->env->finished(runner->arg, end, &runner->err);
}

bool runner_write_journal(struct runner *runner, struct err *err)
{
    json_t *journal = json_pack("{s:i, s:b, s:O}", "format", STATE_FORMAT, "committed",
                                runner->committed, "plan", runner->plan);
    bool ok = runner->env->journal(runner->arg, journal, err);

    json_decref(journal);
    return ok;
}

/* Appends the steps that take one back. */
static void runner_undo_step(json_t *list, const json_t *step)
{
    if (json_is_true(json_object_get(step, "stalled")))
        json_array_extend(list, json_object_get(json_object_get(step, "stall"), "undo"));
    json_array_extend(list, json_object_get(step, "undo"));
}

/* The steps that take back what was done, the last first. */
static void runner_turn_back(struct runner *runner, struct err *why)
{
    const json_t *steps = json_object_get(runner->plan, "steps");
    json_t *list = json_array();
    size_t n = runner->at + (runner->accepted ? 1 : 0);

    err_move(&runner->err, why);
    for (size_t i = n; i-- > 0;)
        runner_undo_step(list, json_array_get(steps, i));
    json_decref(runner->list);
    runner->list = list;
    runner->at = 0;
    runner->undoing = true;
    runner->tries = 0;
    runner->phase = RUNNER_IDLE;
    log_info("'%s': taking %zu steps back", runner->err.desc, json_array_size(list));
    runner_later(runner, 0);
}

/* Should the journal keep saying that it is committed, a restart finds that the second QEMU is gone
 * and goes back as well (recover.c, recover_is_first()).  But where the first one is gone too, a restart
 * would take the one that comes back for the second: then it is committed. */
static void runner_uncommit(struct runner *runner)
{
    struct err err = ERR_INIT;

    runner->committed = false;
    if (!runner_write_journal(runner, &err)) {
        log_error("%s", err.desc);
        runner->committed = runner->without;
    }
    err_clear(&err);
}

/* Where a step that has failed is tried again from. */
static size_t runner_restart(const struct runner *runner)
{
    for (size_t i = runner->at + 1; i-- > 0;) {
        const json_t *step = json_array_get(runner->list, i);

        if (json_is_true(json_object_get(step, "restart")))
            return i;
        if (state_str(step, "main") && i < runner->at)
            break;
    }
    return runner->at;
}

/* True: it is tried again. */
static bool runner_try_again(struct runner *runner)
{
    size_t from = runner_restart(runner);
    unsigned *count = from < runner->at ? &runner->rounds : &runner->tries;

    /* With a rescue the guest does not wait for that. */
    if (json_object_get(runner_current(runner), "rescue") || ++*count >= RUNNER_TRIES)
        return false;
    runner->at = from;
    runner_later(runner, RUNNER_RETRY_MS);
    return true;
}

/* A QEMU that is not there, and not because a step has ended it. */
static bool runner_is_lost(const struct runner *runner)
{
    struct link *main_link = runner->env->link(runner->arg, "qemu");
    struct link *next = runner->env->link(runner->arg, "next");

    /* Between the end of the first QEMU and the switch the second one is what is left. */
    if (runner->committed && next && link_ready(next))
        main_link = next;
    return !runner->without && (!main_link || !link_ready(main_link));
}

/* What the steps so far have prepared has come about. */
static void runner_settle(struct runner *runner)
{
    runner->forward = false;
    for (size_t i = 0; i < runner->at; i++) {
        json_t *step = json_array_get(runner->list, i);

        if (json_is_true(json_object_get(step, "until-settled")))
            json_object_del(step, "undo");
    }
}

/* It can neither go on nor back. */
static void runner_stick(struct runner *runner)
{
    json_t *rescue = json_object_get(runner_current(runner), "rescue");

    if (!rescue || runner->without) {
        runner_end(runner, runner->without ? RUNNER_LOST : RUNNER_STUCK);
        return;
    }
    json_incref(rescue);
    json_decref(runner->list);
    runner->list = rescue;
    runner->at = 0;
    runner->undoing = runner->rescuing = true;
    runner_later(runner, 0);
}

void runner_step_done(struct runner *runner)
{
    const json_t *step = runner_current(runner);
    const char *changes = state_str(step, "main");
    bool commit = !runner->undoing && !runner->committed &&
                  json_is_true(json_object_get(step, "commit-point"));

    log_debug("step %s: done", state_str(step, "step"));
    if (changes)
        runner->without = strcmp(changes, "ends") == 0;
    if (json_is_true(json_object_get(step, "no-return")))
        runner->forward = true;
    else if (json_is_true(json_object_get(step, "settled")))
        runner_settle(runner);
    runner->phase = RUNNER_IDLE;
    runner->at++;
    runner->accepted = false;
    runner->tries = 0;
    if (commit) {
        struct err err = ERR_INIT;

        /* The record itself says so when it is the record that was written. */
        runner->committed = true;
        if (strcmp(state_str(step, "step"), "state-write") != 0 &&
            !runner_write_journal(runner, &err)) {
            log_info("step %s: %s", state_str(step, "step"), err.desc);
            runner->committed = false;
            runner->accepted = false;
            runner_turn_back(runner, &err);
            return;
        }
    }
    runner_later(runner, 0);
}

/* The plan does not depend on it. */
static void runner_pass_over(struct runner *runner, struct err *err)
{
    log_warn("%s: %s", state_str(runner_current(runner), "step"), err->desc);
    err_clear(err);
    runner_step_done(runner);
}

/* The step did not work out. */
void runner_fail(struct runner *runner, struct err *err)
{
    const json_t *step = runner_current(runner);

    event_del(runner->watchdog);
    err_clear(&runner->refusal);
    log_info("step %s: %s", state_str(step, "step"), err->desc);
    if (runner_is_lost(runner)) {
        if (!runner->err.set)
            err_move(&runner->err, err);
        err_clear(err);
        runner_end(runner, RUNNER_LOST);
        return;
    }
    if (json_is_true(json_object_get(step, "lenient")) && (runner->undoing || runner->committed)) {
        runner_pass_over(runner, err);
        return;
    }
    if (json_is_true(json_object_get(step, "no-return")) && runner->accepted &&
        err->reason && strcmp(err->reason, REASON_TIMEOUT) == 0)
        runner->forward = true;
    if (json_is_true(json_object_get(step, "can-return")) && !runner->undoing)
        runner_uncommit(runner);
    if (!runner->undoing && !runner->committed && !runner->forward) {
        runner_turn_back(runner, err);
        return;
    }
    runner->phase = RUNNER_IDLE;
    /* After a failed fsync the kernel may take for written what is not: it would not fail again. */
    if (!err->unsynced && runner_try_again(runner)) {
        err_clear(err);
        return;
    }
    if (json_is_true(json_object_get(step, "tolerated"))) {
        runner_pass_over(runner, err);
        return;
    }
    if (!runner->err.set)
        err_move(&runner->err, err);
    else
        log_error("cannot take back step %s: %s", state_str(step, "step"), err->desc);
    err_clear(err);
    runner_stick(runner);
}

static void runner_step(struct runner *runner)
{
    const json_t *step = runner_current(runner);

    if (!step) {
        runner_end(runner, runner->rescuing  ? RUNNER_STUCK
                           : runner->undoing ? RUNNER_UNDONE : RUNNER_DONE);
        return;
    }
    runner->accepted = runner->probing = false;
    if (runner->cancelled && runner_can_return(runner)) {
        struct err err = ERR_INIT;

        err_set(&err, REASON_CANCELLED, "The operation was cancelled");
        runner_turn_back(runner, &err);
        return;
    }
    log_debug("step %s", state_str(step, "step"));
    err_clear(&runner->refusal);
    if (json_object_get(step, "needs")) {
        runner->probing = true;
        runner_begin_verify(runner);
    } else if (json_object_get(step, "command")) {
        runner_command(runner, step);
    } else if (json_object_get(step, "args")) {
        runner->phase = RUNNER_ACTING;
        runner->env->deed(runner->arg, runner, step, runner_deed_done);
    } else {
        runner->accepted = true;
        runner_begin_verify(runner);
    }
}

static void runner_turn_cb(evutil_socket_t fd, short what, void *arg)
{
    struct runner *runner = arg;

    (void)fd;
    (void)what;
    if (runner->phase == RUNNER_POLLING)
        runner_verify(runner);
    else if (runner->phase == RUNNER_IDLE)
        runner_step(runner);
}

static void runner_forget(struct runner *runner)
{
    static const char *const both[] = { "qemu", "next" };

    for (size_t i = 0; i < 2; i++) {
        struct link *link = runner->env->link(runner->arg, both[i]);

        if (link)
            link_forget(link, runner);
    }
}

/* QEMU is silent: whether the action was taken is unknown. */
static void runner_watchdog_cb(evutil_socket_t fd, short what, void *arg)
{
    struct runner *runner = arg;
    struct err err = ERR_INIT;

    (void)fd;
    (void)what;
    /* What it still answers to this step must not be taken for the answer to another one. */
    runner_forget(runner);
    runner->accepted = true;
    runner_note_moved(runner);
    runner->phase = RUNNER_IDLE;
    err_set(&err, REASON_TIMEOUT, "QEMU did not answer during '%s'",
            state_str(runner_current(runner), "step"));
    runner_fail(runner, &err);
}

struct runner *runner_new(struct event_base *base, json_t *plan,
                          struct runner_standstill *standstill, const struct runner_env *env,
                          void *arg)
{
    struct runner *runner = alloc_zeroed(1, sizeof(*runner));
    struct err err = ERR_INIT;

    runner->base = base;
    runner->env = env;
    runner->arg = arg;
    runner->standstill = standstill;
    runner->plan = json_incref(plan);
    runner->list = json_incref(json_object_get(plan, "steps"));
    runner->ended = json_array();
    runner->committed = json_is_true(json_object_get(plan, "forward-only"));
    runner->without = json_is_true(json_object_get(plan, "main-gone"));
    runner->turn = event_new(base, -1, 0, runner_turn_cb, runner);
    runner->watchdog = event_new(base, -1, 0, runner_watchdog_cb, runner);
    if (!runner->turn || !runner->watchdog)
        abort();
    runner_progress_start(runner);
    if (!runner_write_journal(runner, &err))
        runner_turn_back(runner, &err); /* an empty list: it ends at the next turn */
    else
        runner_later(runner, 0);
    return runner;
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    runner_forget(runner);
    event_free(runner->turn);
    event_free(runner->watchdog);
    json_decref(runner->plan);
    json_decref(runner->list);
    json_decref(runner->ended);
    json_decref(runner->replies);
    free(runner->parts);
    err_clear(&runner->err);
    err_clear(&runner->refusal);
    free(runner);
}
