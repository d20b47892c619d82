/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: a job that does not catch up with the guest; then, once, the guest is stopped. */
#include "tests/unit/runner_steps.h"

#include <time.h>

#include "policy/reason.h"
#include "policy/state.h"

#define BEGUN "journal, command block-commit"
#define STALLED BEGUN ", journal, command stop"

/* How the job does for calm_ms; then it runs and gains nothing, until it is "pending" some time after
 * the guest was stopped. */
enum calm { CALM_GAIN, CALM_PAUSED, CALM_READY, CALM_NOTHING_LEFT, CALM__COUNT };

struct script {
    struct runner_fake *fake;
    enum calm calm;
    long long calm_us;
    bool runs_first;            /* it does not do well yet when first asked about */
    bool calm_is_all;           /* then it is there, without a stop */
    long long after_stop_us;    /* how long it takes then */
    bool wavers;                /* what is left goes up and down meanwhile */
    unsigned cancel_at;         /* cancels with that question after the stop; 0: does not */
    /* what was seen */
    long long first, calm_seen, stop_seen;
    unsigned asked, asked_before, asked_behind;
};

static long long now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/* The job does well. */
static void script_calm(struct script *script)
{
    static const char *const status[CALM__COUNT] = { "running", "paused", "ready", "running" };
    json_int_t left = script->calm == CALM_GAIN ? 100000 - script->asked
                      : script->calm == CALM_NOTHING_LEFT ? 0 : 1000;

    script->calm_seen = now_us();
    job_is(script->fake->qemu, "qsnap-1", status[script->calm], 0, left);
}

static void script_asked(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct script *script = arg;
    long long now = now_us();

    if (strcmp(query, "query-jobs") != 0 ||
        runner_fake_has(script->fake, "command block-job-cancel"))
        return;
    script->asked++;
    if (!script->first)
        script->first = now;
    if (!script->stop_seen && runner_fake_has(script->fake, "command stop"))
        script->stop_seen = now;
    if (!script->stop_seen)
        script->asked_before++;
    else if (++script->asked_behind == script->cancel_at)
        runner_cancel(script->fake->runner);
    if (script->runs_first && script->asked == 1)
        job_is(qemu, "qsnap-1", "running", 0, 1000000);
    else if (now - script->first < script->calm_us)
        script_calm(script);
    else if (script->calm_is_all ||
             (script->stop_seen && now - script->stop_seen >= script->after_stop_us) ||
             now - script->first > 5000000)             /* it has failed */
        job_is(qemu, "qsnap-1", "pending", 1000, 1000);
    else
        job_is(qemu, "qsnap-1", "running", 0, 1000000 + (script->wavers ? script->asked % 2 * 100 : 0));
}

static json_t *stalling_step(const char *id, json_int_t after)
{
    json_t *step = merge_step(id, 1000);

    step_stall(step, after, json_pack("{s:s}", "execute", "stop"), cont_step());
    return step;
}

/* new: the job alone, or with a deed behind it. */
static json_t *plan_stalling(json_int_t after, const char *deed_name)
{
    json_t *plan = plan_new("test", "s1");

    plan_add(plan, stalling_step("qsnap-1", after));
    if (deed_name)
        plan_add(plan, deed(deed_name, NULL));
    return plan;
}

static struct runner_fake *script_fake(struct script *script)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    script->fake = fake;
    fake->qemu->asked = script_asked;
    fake->qemu->asked_arg = script;
    return fake;
}

static bool journal_says_stalled(const struct runner_fake *fake)
{
    const json_t *steps = json_object_get(json_object_get(fake->journal, "plan"), "steps");

    return json_is_true(json_object_get(json_array_get(steps, 0), "stalled"));
}

/* It takes four times as long as it was stopped for before, but stays stopped. */
static void guest_is_stopped_once_when_nothing_was_gained_for_so_long(void **state)
{
    struct script script = { .after_stop_us = 120000 };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    runner_fake_run(fake, plan_stalling(30, NULL));
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, STALLED);
    assert_true(script.stop_seen - script.first >= 30000);
    assert_true(script.asked_behind > 1);
    assert_true(journal_says_stalled(fake));
    runner_fake_free(fake);
}

static void least_that_was_ever_left_counts(void **state)
{
    struct script script = { .wavers = true };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    runner_fake_run(fake, plan_stalling(30, NULL));
    assert_log(fake, STALLED);
    assert_true(script.stop_seen - script.first >= 30000);
    runner_fake_free(fake);
}

static void with_0_it_is_stopped_at_once(void **state)
{
    for (enum calm calm = 0; calm < CALM__COUNT; calm++) {
        struct script script = { .calm = calm, .calm_us = 100000, .calm_is_all = true };
        struct runner_fake *fake = script_fake(&script);
        bool waits = calm == CALM_PAUSED || calm == CALM_READY;

        (void)state;
        runner_fake_run(fake, plan_stalling(0, NULL));
        assert_end(fake, RUNNER_DONE, NULL);
        assert_log(fake, waits ? BEGUN : STALLED);
        assert_true(waits || script.asked_before == 1);
        runner_fake_free(fake);
    }
}

/* ... that gains, or that the guest cannot outrun. */
static void guest_goes_on_beside_a_job_that_does_well(void **state)
{
    for (enum calm calm = 0; calm < CALM__COUNT; calm++) {
        struct script script = { .calm = calm, .calm_us = 120000, .calm_is_all = true };
        struct runner_fake *fake = script_fake(&script);

        (void)state;
        runner_fake_run(fake, plan_stalling(20, NULL));
        assert_end(fake, RUNNER_DONE, NULL);
        assert_log(fake, BEGUN);
        assert_false(journal_says_stalled(fake));
        runner_fake_free(fake);
    }
}

/* The time is longer than that between two questions. */
static void time_without_gain_begins_when_it_does_well_no_more(void **state)
{
    for (enum calm calm = 0; calm < CALM__COUNT; calm++) {
        struct script script = { .calm = calm, .calm_us = 80000, .runs_first = true };
        struct runner_fake *fake = script_fake(&script);

        (void)state;
        runner_fake_run(fake, plan_stalling(150, NULL));
        assert_end(fake, RUNNER_DONE, NULL);
        assert_log(fake, STALLED);
        assert_true(script.stop_seen - script.calm_seen >= 150000);
        runner_fake_free(fake);
    }
}

/* The first job has little left and stands; the second has much, and gains. */
static void asked_about_two(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct script *script = arg;

    if (strcmp(query, "query-jobs") != 0)
        return;
    script->asked++;
    if (!json_object_get(json_object_get(qemu->vm, "jobs"), "qsnap-2")) {
        job_is(qemu, "qsnap-1", script->asked < 4 ? "running" : "pending", 0, 10 - script->asked);
        return;
    }
    job_is(qemu, "qsnap-1", "running", 0, 5);
    if (!script->first)
        script->first = now_us();
    job_is(qemu, "qsnap-2", now_us() - script->first < 100000 ? "running" : "pending", 0,
           100000 - script->asked);
}

static void each_step_has_its_own_job_and_time(void **state)
{
    struct script script = { 0 };
    struct runner_fake *fake = script_fake(&script);
    json_t *plan = plan_stalling(20, NULL);

    (void)state;
    plan_add(plan, stalling_step("qsnap-2", 20));
    fake->qemu->asked = asked_about_two;
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, BEGUN ", command block-commit");
    runner_fake_free(fake);
}

static void taken_back_the_guest_goes_on_before_the_job_is_ended(void **state)
{
    struct script script = { 0 };
    struct runner_fake *fake = script_fake(&script);
    json_t *plan;

    (void)state;
    fake->deed_fails_at = 0;
    runner_fake_run(fake, plan_stalling(20, "fails"));
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, STALLED ", deed fails, command cont, command block-job-cancel");
    runner_fake_free(fake);
    script = (struct script){ .calm_us = 20000, .calm_is_all = true }; /* not stalled: no cont */
    fake = script_fake(&script);
    fake->deed_fails_at = 0;
    runner_fake_run(fake, plan_stalling(5000, "fails"));
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, BEGUN ", deed fails, command block-job-cancel");
    runner_fake_free(fake);
    script = (struct script){ 0 };          /* one that stalled before one that did not */
    fake = script_fake(&script);
    fake->deed_fails_at = 0;
    plan = plan_stalling(20, NULL);
    plan_add(plan, merge_step("qsnap-2", 1));
    json_object_set_new(json_array_get(json_object_get(plan, "steps"), 1), "expect",
                        expect_job("qsnap-2", "ready"));
    plan_add(plan, deed("fails", NULL));
    runner_fake_run(fake, plan);
    assert_log(fake, STALLED ", command block-commit, deed fails, command block-job-cancel, "
                             "command cont, command block-job-cancel");
    runner_fake_free(fake);
}

static void cancelled_while_it_is_stopped_for_the_job(void **state)
{
    struct script script = { .after_stop_us = 5000000 };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    runner_fake_run_cancel(fake, plan_stalling(20, NULL), "command stop"); /* not yet answered */
    assert_end(fake, RUNNER_UNDONE, REASON_CANCELLED);
    assert_log(fake, STALLED ", command cont, command block-job-cancel");
    runner_fake_free(fake);
    script = (struct script){ .after_stop_us = 5000000, .cancel_at = 5 };
    fake = script_fake(&script);
    runner_fake_run(fake, plan_stalling(20, NULL));
    assert_end(fake, RUNNER_UNDONE, REASON_CANCELLED);
    assert_log(fake, STALLED ", command cont, command block-job-cancel");
    assert_int_equal(script.asked_behind, 5);
    runner_fake_free(fake);
}

static void refused_stop_is_not_the_end(void **state)
{
    struct script script = { .after_stop_us = 80000 };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    fake->qemu->at = 1;
    fake->qemu->trouble = FAKE_REFUSE;
    runner_fake_run(fake, plan_stalling(20, NULL));
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, STALLED);
    assert_string_equal(state_str(fake->qemu->vm, "status"), "running");
    runner_fake_free(fake);
}

static void answer_to_the_stop_that_is_lost(void **state)
{
    for (int after = 0; after < 2; after++) {
        struct script script = { 0 };
        struct runner_fake *fake = script_fake(&script);

        (void)state;
        fake->qemu->at = 1;
        fake->qemu->trouble = after ? FAKE_CUT_AFTER : FAKE_CUT_BEFORE;
        runner_fake_run(fake, plan_stalling(20, NULL));
        assert_end(fake, RUNNER_LOST, REASON_QEMU_FAILED);
        assert_log(fake, STALLED);
        assert_true(journal_says_stalled(fake));        /* for who comes next */
        runner_fake_free(fake);
    }
}

static void answer_to_the_stop_that_does_not_come(void **state)
{
    struct script script = { 0 };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    fake->qemu->at = 1;
    fake->qemu->trouble = FAKE_SILENT;
    runner_fake_run(fake, plan_stalling(20, NULL));
    assert_end(fake, RUNNER_UNDONE, REASON_TIMEOUT);
    assert_log(fake, STALLED ", command cont, command block-job-cancel");
    assert_string_equal(state_str(fake->qemu->vm, "status"), "running");
    runner_fake_free(fake);
}

static void without_a_journal_the_guest_is_not_stopped(void **state)
{
    struct script script = { 0 };
    struct runner_fake *fake = script_fake(&script);

    (void)state;
    fake->journal_fails_at = 1;
    runner_fake_run(fake, plan_stalling(20, NULL));
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, BEGUN ", journal, command block-job-cancel");
    runner_fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_is_stopped_once_when_nothing_was_gained_for_so_long),
        cmocka_unit_test(least_that_was_ever_left_counts),
        cmocka_unit_test(with_0_it_is_stopped_at_once),
        cmocka_unit_test(guest_goes_on_beside_a_job_that_does_well),
        cmocka_unit_test(time_without_gain_begins_when_it_does_well_no_more),
        cmocka_unit_test(each_step_has_its_own_job_and_time),
        cmocka_unit_test(taken_back_the_guest_goes_on_before_the_job_is_ended),
        cmocka_unit_test(cancelled_while_it_is_stopped_for_the_job),
        cmocka_unit_test(refused_stop_is_not_the_end),
        cmocka_unit_test(answer_to_the_stop_that_is_lost),
        cmocka_unit_test(answer_to_the_stop_that_does_not_come),
        cmocka_unit_test(without_a_journal_the_guest_is_not_stopped),
    };

    runner_fake_short_ms = 500; /* no time is short enough to matter here, and a busy machine is slow */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
