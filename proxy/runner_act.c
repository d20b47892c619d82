/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of the runner that acts: a command is sent and its answer taken, a deed has ended. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "policy/expect.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/durable.h"
#include "proxy/log.h"
#include "proxy/runner_internal.h"

/* The human monitor says in words what went wrong, and nothing when all is well; a debugger that is
 * waited for is well. */
static void runner_check_human(struct runner *runner, const json_t *step,
                               const struct message_reply *reply)
{
    const char *execute = state_str(json_object_get(step, "command"), "execute");
    json_t *value;
    const char *text;
    size_t len;

    if (strcmp(execute, "human-monitor-command") != 0)
        return;
    value = link_reply_value(ANSWER_RETURN, reply);
    text = json_string_value(value);
    len = text ? strlen(text) : 0;
    while (len > 0 && strchr(" \r\n\t", text[len - 1]))
        len--;
    if (len > 0 && strncmp(text, "Waiting for gdb", 15) != 0)
        err_set(&runner->refusal, REASON_QEMU_FAILED, "QEMU refused '%s': %.*s",
                state_str(step, "step"), (int)len, text);
    json_decref(value);
}

/* Verification decides about what was refused as well: it may be so all the same.  But what a query
 * says of migrations may be about an earlier one. */
static bool runner_may_be_so(const json_t *step)
{
    const json_t *expect = json_object_get(step, "expect");

    return expect_query(expect) && strcmp(state_str(expect, "is"), "migrated") != 0;
}

void runner_set_refused(struct err *err, const char *name, const char *advice,
                        const struct message_reply *reply)
{
    json_t *error = json_loadb(reply->value.at, reply->value.len, JSON_ALLOW_NUL, NULL);
    const char *desc = state_str(error, "desc");

    err_set(err, REASON_QEMU_FAILED, "QEMU refused '%s': %s%s%s", name,
            desc ? desc : "no reason given", advice ? "; " : "", advice ? advice : "");
    json_decref(error);
}

void runner_note_moved(struct runner *runner)
{
    if (json_is_true(json_object_get(runner_current(runner), "moves")))
        json_object_set_new(runner->plan, "moved", json_true());
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
        runner_set_refused(&runner->refusal, state_str(step, "step"), state_str(step, "advice"),
                           reply);
    } else if (answer == ANSWER_RETURN) {
        runner_note_moved(runner);
        runner_check_human(runner, step, reply);
        runner_answered(runner, step);
    }
    if (runner->refusal.set && !runner_may_be_so(step)) {
        struct err err = ERR_INIT;

        runner_take_refusal(runner, &err);
        runner_fail(runner, &err);
        return;
    }
    runner_begin_verify(runner);
}

void runner_deed_done(struct runner *runner, bool ok, struct err *err)
{
    if (runner->phase != RUNNER_ACTING)
        return;
    event_del(runner->watchdog);
    /* A deed that fails has cleared up behind itself. */
    runner->accepted = ok;
    runner_note_moved(runner);
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

void runner_command(struct runner *runner, const json_t *step)
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

void runner_probed(struct runner *runner, const json_t *reply)
{
    const json_t *step = runner_current(runner);
    struct err err = ERR_INIT;

    runner->probing = false;
    if (expect_check(json_object_get(step, "expect"), reply, &err) == EXPECT_YES) {
        log_debug("step %s: it is so already", state_str(step, "step"));
        runner->accepted = true;
        runner_step_done(runner);
        return;
    }
    err_clear(&err);
    if (expect_check(json_object_get(step, "needs"), reply, &err) == EXPECT_YES) {
        runner_command(runner, step);
        return;
    }
    if (!err.set)
        err_set(&err, REASON_QEMU_FAILED, "QEMU is not as '%s' needs it", state_str(step, "step"));
    runner_fail(runner, &err);
}
