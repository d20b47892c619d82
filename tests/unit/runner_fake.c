/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/runner_fake.h"

#include <dlfcn.h>
#include <stdio.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/loop.h"
#include "qmp/alloc.h"

#define RUNNER_FAKE_END_S 60

unsigned runner_fake_short_ms = 100;

int event_add(struct event *event, const struct timeval *tv)
{
    static int (*real)(struct event *, const struct timeval *);
    struct timeval brief = { .tv_usec = (suseconds_t)runner_fake_short_ms * 1000 };

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "event_add");
    return real(event, tv && tv->tv_sec >= 5 && tv->tv_sec < RUNNER_FAKE_END_S ? &brief : tv);
}

static void log_add(struct runner_fake *fake, const char *what, const char *name)
{
    char line[128];

    snprintf(line, sizeof(line), "%s%s%s", what, name[0] ? " " : "", name);
    json_array_append_new(fake->log, json_string(line));
}

/* Takes over what has come to a QEMU since the last time. */
static void log_commands(struct runner_fake *fake)
{
    for (; fake->seen < json_array_size(fake->qemu->log); fake->seen++)
        log_add(fake, "command", json_string_value(json_array_get(fake->qemu->log, fake->seen)));
    for (; fake->next && fake->seen_next < json_array_size(fake->next->log); fake->seen_next++)
        log_add(fake, "next", json_string_value(json_array_get(fake->next->log, fake->seen_next)));
}

/* ---- the runner's surroundings ---- */

static struct link *env_link(void *arg, const char *on)
{
    struct runner_fake *fake = arg;
    bool next = fake->switched || strcmp(on, "next") == 0;

    return next ? (fake->next ? fake->next->link : NULL) : fake->qemu->link;
}

static void env_deed_do(struct runner_fake *fake, const char *name, const char *file)
{
    if (strcmp(name, "overlay-create") == 0 || strcmp(name, "memory-create") == 0 ||
        strcmp(name, "vmstate-create") == 0)
        json_object_set_new(fake->files, file, json_true());
    else if (strcmp(name, "file-remove") == 0)
        json_object_del(fake->files, file);
    else if (strcmp(name, "process-start") == 0)
        fake->started = true;
    else if (strcmp(name, "process-discard") == 0)
        fake_close(fake->next);
    else if (strcmp(name, "process-end") == 0)
        fake_close(fake->qemu);
    else if (strcmp(name, "process-switch") == 0)
        fake->switched = true;
}

static void env_deed_cb(evutil_socket_t fd, short what, void *arg)
{
    struct runner_fake *fake = arg;
    const char *name = state_str(fake->step, "step");
    struct err err = ERR_INIT;
    runner_deed_cb *done = fake->done;

    (void)fd;
    (void)what;
    fake->done = NULL;
    log_commands(fake);
    log_add(fake, "deed", name);
    if (fake->deeds++ >= fake->deed_fails_at && fake->deed_fails_times > 0) {
        fake->deed_fails_times--;
        err_set(&err, REASON_NO_SPACE, "deed %s failed", name);
        err.unsynced = fake->deed_unsynced;
        done(fake->runner, false, &err);
        err_clear(&err);
        return;
    }
    env_deed_do(fake, name, state_str(json_object_get(fake->step, "args"), "file"));
    done(fake->runner, true, &err);
}

static void env_deed(void *arg, struct runner *runner, const json_t *step, runner_deed_cb *done)
{
    struct runner_fake *fake = arg;
    struct timeval soon = { .tv_usec = fake->deed_ms * 1000 };

    (void)runner;
    assert_null(fake->done);
    fake->step = step;
    fake->done = done;
    event_add(fake->deed_event, &soon);
}

static bool env_journal(void *arg, const json_t *journal, struct err *err)
{
    struct runner_fake *fake = arg;

    assert_true(json_is_object(json_object_get(journal, "plan")));
    log_commands(fake);
    log_add(fake, "journal",
            json_is_true(json_object_get(journal, "committed")) ? "committed" : "");
    if (fake->journals++ != fake->journal_fails_at) {
        json_decref(fake->journal);
        fake->journal = json_deep_copy(journal);
        return true;
    }
    err_set(err, REASON_NO_SPACE, "no journal");
    return false;
}

static void env_progress(void *arg, json_int_t current, json_int_t total)
{
    struct runner_fake *fake = arg;

    json_array_append_new(fake->progress, json_pack("[I, I]", current, total));
}

static void env_finished(void *arg, enum runner_end end, struct err *err)
{
    struct runner_fake *fake = arg;

    assert_false(fake->ended);
    log_commands(fake);
    fake->ended = true;
    fake->end = end;
    if (err->set)
        err_move(&fake->err, err);
}

static const struct runner_env env = {
    .link = env_link,
    .deed = env_deed,
    .journal = env_journal,
    .progress = env_progress,
    .finished = env_finished,
};

/* ---- */

struct runner_fake *runner_fake_new(json_t *vm)
{
    struct runner_fake *fake = alloc_zeroed(1, sizeof(*fake));

    fake->base = loop_new();
    fake->qemu = fake_new(fake->base, vm);
    fake->log = json_array();
    fake->files = json_object();
    fake->progress = json_array();
    fake->deed_fails_at = (size_t)-1;
    fake->deed_fails_times = 1;
    fake->journal_fails_at = -1;
    fake->deed_event = event_new(fake->base, -1, 0, env_deed_cb, fake);
    return fake;
}

void runner_fake_free(struct runner_fake *fake)
{
    runner_free(fake->runner);
    event_free(fake->deed_event);
    fake_free(fake->qemu);
    if (fake->next)
        fake_free(fake->next);
    event_base_free(fake->base);
    json_decref(fake->log);
    json_decref(fake->files);
    json_decref(fake->journal);
    json_decref(fake->progress);
    err_clear(&fake->err);
    free(fake);
}

static void shorten(json_t *steps)
{
    json_t *step;
    size_t i;

    json_array_foreach(steps, i, step) {
        if (json_integer_value(json_object_get(step, "timeout")) > 0)
            json_object_set_new(step, "timeout", json_integer(runner_fake_short_ms));
        shorten(json_object_get(step, "undo"));
    }
}

bool runner_fake_has(struct runner_fake *fake, const char *line)
{
    json_t *one;
    size_t i;

    log_commands(fake);
    json_array_foreach(fake->log, i, one)
        if (strcmp(json_string_value(one), line) == 0)
            return true;
    return false;
}

void runner_fake_run_cancel(struct runner_fake *fake, json_t *plan, const char *line)
{
    struct timeval end = { .tv_sec = RUNNER_FAKE_END_S };
    bool cancelled = false;

    shorten(json_object_get(plan, "steps"));
    runner_free(fake->runner);
    fake->ended = false;
    fake->runner = runner_new(fake->base, plan, &fake->standstill, &env, fake);
    assert_false(fake->ended);
    event_base_loopexit(fake->base, &end);
    while (!fake->ended) {
        if (event_base_loop(fake->base, EVLOOP_ONCE) != 0 || event_base_got_exit(fake->base))
            fail_msg("the runner does not come to an end");
        if (line && !cancelled && runner_fake_has(fake, line)) {
            cancelled = true;
            runner_cancel(fake->runner);
        }
    }
    json_decref(plan);
}

void runner_fake_run(struct runner_fake *fake, json_t *plan)
{
    runner_fake_run_cancel(fake, plan, NULL);
}

void assert_log(struct runner_fake *fake, const char *want)
{
    char have[8192] = "";
    json_t *line;
    size_t i;

    json_array_foreach(fake->log, i, line) {
        strcat(have, i > 0 ? ", " : "");
        strcat(have, json_string_value(line));
    }
    assert_string_equal(have, want);
}
