/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/expect.h"
#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/durable.h"
#include "proxy/log.h"
#include "proxy/runner_internal.h"

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
    struct timeval tv = { .tv_sec = PLAN_TIMEOUT_MS / 1000 };

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

/* The steps that take back what was done, the last first. */
static void runner_turn_back(struct runner *runner, struct err *why)
{
    const json_t *steps = json_object_get(runner->plan, "steps");
    json_t *list = json_array();
    size_t n = runner->at + (runner->accepted ? 1 : 0);

    err_move(&runner->err, why);
    for (size_t i = n; i-- > 0;)
        json_array_extend(list, json_object_get(json_array_get(steps, i), "undo"));
    json_decref(runner->list);
    runner->list = list;
    runner->at = 0;
    runner->undoing = true;
    runner->tries = 0;
    runner->phase = RUNNER_IDLE;
    log_info("'%s': taking %zu steps back", runner->err.desc, json_array_size(list));
    runner_later(runner, 0);
}

void runner_step_done(struct runner *runner)
{
    const json_t *step = runner_current(runner);
    bool commit = !runner->undoing && !runner->committed && json_is_true(json_object_get(step, "commit-point"));

    log_debug("step %s: done", state_str(step, "step"));
    runner->phase = RUNNER_IDLE;
    runner->at++;
    runner->tries = 0;
    if (commit) {
        struct err err = ERR_INIT;

        /* The record itself says so when it is the record that was written. */
        runner->committed = true;
        if (strcmp(state_str(step, "step"), "state-write") != 0 &&
            !runner_write_journal(runner, &err)) {
            runner->committed = false;
            runner->accepted = false;
            runner_turn_back(runner, &err);
            return;
        }
    }
    runner_later(runner, 0);
}

/* The step did not work out. */
void runner_fail(struct runner *runner, struct err *err)
{
    const json_t *step = runner_current(runner);
    struct link *main_link = runner->env->link(runner->arg, "qemu");

    event_del(runner->watchdog);
    err_clear(&runner->refusal);
    log_info("step %s: %s", state_str(step, "step"), err->desc);
    if (!main_link || !link_ready(main_link)) {
        if (!runner->err.set)
            err_move(&runner->err, err);
        err_clear(err);
        runner_end(runner, RUNNER_LOST);
        return;
    }
    if (json_is_true(json_object_get(step, "lenient")) && (runner->undoing || runner->committed)) {
        log_warn("%s: %s", state_str(step, "step"), err->desc);
        err_clear(err);
        runner_step_done(runner);
        return;
    }
    if (!runner->undoing && !runner->committed) {
        runner_turn_back(runner, err);
        return;
    }
    runner->phase = RUNNER_IDLE;
    if (++runner->tries < RUNNER_TRIES) {
        err_clear(err);
        runner_later(runner, RUNNER_RETRY_MS);
        return;
    }
    if (!runner->err.set)
        err_move(&runner->err, err);
    else
        log_error("cannot take back step %s: %s", state_str(step, "step"), err->desc);
    err_clear(err);
    runner_end(runner, RUNNER_STUCK);
}

/* ---- actions ---- */

/* The human monitor says in words what went wrong, and nothing when all is well; a debugger that is
 * waited for is well. */
static void runner_check_human(struct runner *runner, const json_t *step,
                               const struct message_reply *reply)
{
    const char *execute = state_str(json_object_get(step, "command"), "execute");
    json_t *value;
    const char *text;

    if (strcmp(execute, "human-monitor-command") != 0)
        return;
    value = json_loadb(reply->value.at, reply->value.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    text = json_string_value(value);
    if (text && text[strspn(text, " \r\n\t")] != '\0' && strncmp(text, "Waiting for gdb", 15) != 0)
        err_set(&runner->refusal, REASON_QEMU_FAILED, "QEMU refused '%s': %s",
                state_str(step, "step"), text);
    json_decref(value);
}

static void runner_answer_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                             const struct message_reply *reply)
{
    struct runner *runner = arg;
    const json_t *step = runner_current(runner);

    (void)text;
    (void)len;
    if (runner->phase != RUNNER_ACTING)
        return;
    event_del(runner->watchdog);
    runner->accepted = answer != ANSWER_ERROR;
    if (answer == ANSWER_ERROR) {
        json_t *error = json_loadb(reply->value.at, reply->value.len, JSON_ALLOW_NUL, NULL);
        const char *desc = state_str(error, "desc");

        err_set(&runner->refusal, REASON_QEMU_FAILED, "QEMU refused '%s': %s",
                state_str(step, "step"), desc ? desc : "no reason given");
        json_decref(error);
    } else if (answer == ANSWER_RETURN) {
        if (json_is_true(json_object_get(step, "moves")))
            json_object_set_new(runner->plan, "moved", json_true());
        runner_check_human(runner, step, reply);
    }
    if (runner->refusal.set && !expect_query(json_object_get(step, "expect"))) {
        struct err err = ERR_INIT;

        runner_take_refusal(runner, &err);
        runner_fail(runner, &err);
        return;
    }
    runner_begin_verify(runner);
}

static void runner_deed_done(struct runner *runner, bool ok, struct err *err)
{
    if (runner->phase != RUNNER_ACTING)
        return;
    event_del(runner->watchdog);
    /* A deed that fails has cleared up behind itself. */
    runner->accepted = ok;
    if (ok)
        runner_step_done(runner);
    else
        runner_fail(runner, err);
}

/* -1: none; -2: err is set. */
static int runner_open_fd(const json_t *step, struct err *err)
{
    const json_t *want = json_object_get(step, "fd");
    const char *path = state_str(want, "path");
    int fd;

    if (!want)
        return -1;
    fd = open(path, (strcmp(state_str(want, "flags"), "write") == 0 ? O_WRONLY : O_RDONLY) |
                        O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        return fd;
    durable_errno(err, errno, "open", path);
    return -2;
}

static void runner_command(struct runner *runner, const json_t *step)
{
    const json_t *command = json_object_get(step, "command");
    struct link *link = runner->env->link(runner->arg, state_str(step, "on"));
    struct err err = ERR_INIT;
    int fd = runner_open_fd(step, &err);

    if (!err.set && (!link || !link_ready(link)))
        err_set(&err, REASON_QEMU_FAILED, "QEMU ended before '%s'", state_str(step, "step"));
    if (err.set) {
        runner->accepted = false;
        runner_fail(runner, &err);
    } else {
        runner->phase = RUNNER_ACTING;
        runner_watch(runner);
        link_send_command(link, state_str(command, "execute"),
                          json_object_get(command, "arguments"), fd, runner_answer_cb, runner);
    }
    if (fd >= 0)
        close(fd);
}

static void runner_step(struct runner *runner)
{
    const json_t *step = runner_current(runner);

    if (!step) {
        runner_end(runner, runner->undoing ? RUNNER_UNDONE : RUNNER_DONE);
        return;
    }
    runner->accepted = false;
    if (runner->cancelled && !runner->undoing && !runner->committed) {
        struct err err = ERR_INIT;

        err_set(&err, REASON_CANCELLED, "The operation was cancelled");
        runner_turn_back(runner, &err);
        return;
    }
    log_debug("step %s", state_str(step, "step"));
    err_clear(&runner->refusal);
    if (json_object_get(step, "command")) {
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

/* QEMU is silent: whether the action was taken is unknown. */
static void runner_watchdog_cb(evutil_socket_t fd, short what, void *arg)
{
    struct runner *runner = arg;
    struct err err = ERR_INIT;

    (void)fd;
    (void)what;
    runner->accepted = true;
    runner->phase = RUNNER_IDLE;
    err_set(&err, REASON_TIMEOUT, "QEMU did not answer during '%s'",
            state_str(runner_current(runner), "step"));
    runner_fail(runner, &err);
}

struct runner *runner_new(struct event_base *base, json_t *plan, const struct runner_env *env,
                          void *arg)
{
    struct runner *runner = calloc(1, sizeof(*runner));
    struct err err = ERR_INIT;

    if (!runner)
        abort();
    runner->base = base;
    runner->env = env;
    runner->arg = arg;
    runner->plan = json_incref(plan);
    runner->list = json_incref(json_object_get(plan, "steps"));
    runner->committed = json_is_true(json_object_get(plan, "forward-only"));
    runner->turn = event_new(base, -1, 0, runner_turn_cb, runner);
    runner->watchdog = event_new(base, -1, 0, runner_watchdog_cb, runner);
    if (!runner->turn || !runner->watchdog)
        abort();
    if (!runner_write_journal(runner, &err))
        runner_turn_back(runner, &err); /* an empty list: it ends at the next turn */
    else
        runner_later(runner, 0);
    return runner;
}

void runner_free(struct runner *runner)
{
    static const char *const both[] = { "qemu", "next" };

    if (!runner)
        return;
    for (size_t i = 0; i < 2; i++) {
        struct link *link = runner->env->link(runner->arg, both[i]);

        if (link)
            link_forget(link, runner);
    }
    event_free(runner->turn);
    event_free(runner->watchdog);
    json_decref(runner->plan);
    json_decref(runner->list);
    json_decref(runner->replies);
    err_clear(&runner->err);
    err_clear(&runner->refusal);
    free(runner);
}

bool runner_cancel(struct runner *runner)
{
    if (runner->committed || runner->phase == RUNNER_ENDED)
        return false;
    runner->cancelled = true;
    return true;
}

bool runner_committed(const struct runner *runner)
{
    return runner->committed;
}
