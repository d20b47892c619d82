/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: for how long the guest stood still. */
#include "tests/unit/runner_steps.h"

#include <time.h>

#include "policy/reason.h"

#define DEED_MS 50
/* libevent's clock is as coarse as that. */
#define SLACK_MS 10

static json_int_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* new: "stop", "cont", deeds, or "merge" with a stall at once. */
static json_t *plan_of(const char *const *names)
{
    json_t *plan = plan_new("test", "s1"), *step;

    for (; *names; names++) {
        if (strcmp(*names, "merge") == 0) {
            step = merge_step("qsnap-1", 1);
            step_stall(step, 0, json_pack("{s:s}", "execute", "stop"), cont_step());
        } else {
            step = strcmp(*names, "stop") == 0 ? stop_step()
                   : strcmp(*names, "cont") == 0 ? cont_step() : deed(*names, NULL);
        }
        plan_add(plan, step);
    }
    return plan;
}

#define PLAN(...) plan_of((const char *const[]){ __VA_ARGS__, NULL })

/* Runs it; returns how long that took. */
static json_int_t run(struct runner_fake *fake, json_t *plan)
{
    json_int_t begin = now_ms();

    fake->deed_ms = DEED_MS;
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_DONE, NULL);
    return now_ms() - begin;
}

static void assert_stood(const struct runner_fake *fake, json_int_t least, json_int_t most)
{
    json_int_t ms = runner_standstill_ms(&fake->standstill);

    if (ms < least || ms > most)
        fail_msg("%lld ms, not from %lld to %lld", (long long)ms, (long long)least, (long long)most);
}

static void it_counts_from_stop_to_cont(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_int_t whole = run(fake, PLAN("before", "stop", "while", "cont", "behind"));

    (void)state;
    assert_stood(fake, DEED_MS - SLACK_MS, whole - 2 * (DEED_MS - SLACK_MS));
    run(fake, PLAN("stop", "while", "cont"));               /* a second time is added */
    assert_stood(fake, 2 * (DEED_MS - SLACK_MS), 10000);
    runner_fake_free(fake);
}

/* As a save-as stops it, and the revert behind it lets it go on. */
static void it_counts_over_several_plans(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, PLAN("stop", "while"));
    assert_int_equal(runner_standstill_ms(&fake->standstill), -1);
    run(fake, PLAN("while", "cont"));
    assert_stood(fake, 2 * (DEED_MS - SLACK_MS), 10000);
    runner_fake_free(fake);
}

static void there_is_none_without_both(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, PLAN("nothing"));
    assert_int_equal(runner_standstill_ms(&fake->standstill), -1);
    run(fake, PLAN("cont"));                                /* it was not our stop */
    assert_int_equal(runner_standstill_ms(&fake->standstill), -1);
    run(fake, PLAN("stop", "cont", "stop"));                /* it is still stopped */
    assert_int_equal(runner_standstill_ms(&fake->standstill), -1);
    runner_fake_free(fake);
}

static void refused_stop_that_is_so_all_the_same_counts(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_DONE_REFUSED;
    run(fake, PLAN("stop", "while", "cont"));
    assert_stood(fake, DEED_MS - SLACK_MS, 10000);
    runner_fake_free(fake);
}

static void asked_too_early(struct fake_qemu *qemu, const char *query, void *arg)
{
    static json_int_t since;

    if (strcmp(query, "query-status") != 0)
        return;
    since = since ? since : now_ms();
    json_object_set_new(qemu->vm, "status",
                        json_string(now_ms() - since < DEED_MS ? "running" : "paused"));
    qemu->asked = now_ms() - since < DEED_MS ? asked_too_early : NULL;
    (void)arg;
}

/* The status may be that of before for a while. */
static void stop_counts_from_its_answer(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->asked = asked_too_early;
    run(fake, PLAN("stop", "cont"));
    assert_stood(fake, DEED_MS, 10000);
    runner_fake_free(fake);
}

/* A cont that did nothing does not count. */
static void cont_counts_when_the_guest_was_seen_to_run(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = PLAN("commit", "stop", "cont");

    (void)state;
    step_commit_point(json_array_get(json_object_get(plan, "steps"), 0));
    fake->qemu->at = 1;
    fake->qemu->trouble = FAKE_IGNORE;                      /* tried again after that time */
    run(fake, plan);
    assert_stood(fake, runner_fake_short_ms - SLACK_MS, 10000);
    runner_fake_free(fake);
}

/* The job takes a while after the stop. */
static void asked(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct runner_fake *fake = arg;
    static json_int_t since;

    if (strcmp(query, "query-jobs") != 0)
        return;
    if (!runner_fake_has(fake, "command stop"))
        since = now_ms();
    job_is(qemu, "qsnap-1", now_ms() - since < DEED_MS ? "running" : "pending", 0, 1000);
}

static void it_counts_from_the_stop_for_a_job(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->asked = asked;
    fake->qemu->asked_arg = fake;
    run(fake, PLAN("merge", "stop", "while", "cont"));
    assert_log(fake, "journal, command block-commit, journal, command stop, command stop, "
                     "deed while, command cont");
    assert_stood(fake, 2 * (DEED_MS - SLACK_MS), 10000);
    runner_fake_free(fake);
    fake = runner_fake_new(vm_new());                       /* and without one of the plan's */
    fake->qemu->asked = asked;
    fake->qemu->asked_arg = fake;
    run(fake, PLAN("merge", "cont"));
    assert_stood(fake, DEED_MS - SLACK_MS, 10000);
    runner_fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_from_stop_to_cont),
        cmocka_unit_test(it_counts_over_several_plans),
        cmocka_unit_test(there_is_none_without_both),
        cmocka_unit_test(refused_stop_that_is_so_all_the_same_counts),
        cmocka_unit_test(stop_counts_from_its_answer),
        cmocka_unit_test(cont_counts_when_the_guest_was_seen_to_run),
        cmocka_unit_test(it_counts_from_the_stop_for_a_job),
    };

    runner_fake_short_ms = 500; /* no time is short enough to matter here, and a busy machine is slow */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
