/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: between a step of no return and the one that settles it there is only forward (plan.h); and what
 * QEMU refused was not done, whatever it tells of something else. */
#include "tests/unit/runner_steps.h"

#include "policy/plan.h"
#include "policy/reason.h"

/* make (back: unmake), end (no return), look, record (settled), more | commit */
static json_t *plan_merge(void)
{
    json_t *plan = plan_new("test", "s1"), *step;

    plan_add(plan, deed("make", "unmake"));
    step = plan_add(plan, deed("end", NULL));
    json_object_set_new(step, "no-return", json_true());
    plan_add(plan, deed("look", NULL));
    step = plan_add(plan, deed("record", NULL));
    json_object_set_new(step, "settled", json_true());
    plan_add(plan, deed("more", NULL));
    step = plan_add(plan, deed("commit", NULL));
    step_commit_point(step);
    return plan;
}

static struct runner_fake *merge(size_t fails_at, const char *cancel)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    fake->deed_fails_at = fails_at;
    runner_fake_run_cancel(fake, plan_merge(), cancel);
    return fake;
}

static void what_fails_there_is_tried_again(void **state)
{
    struct runner_fake *fake = merge(2, NULL);

    (void)state;
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, "journal, deed make, deed end, deed look, deed look, deed record, deed more, "
                     "deed commit, journal committed");
    runner_fake_free(fake);
}

static void behind_it_the_plan_can_be_taken_back(void **state)
{
    struct runner_fake *fake = merge(4, NULL);

    (void)state;
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed end, deed look, deed record, deed more, deed unmake");
    runner_fake_free(fake);
}

/* Whoever asks for it there is told that it is too late, and so it is. */
static void it_is_not_cancelled_there(void **state)
{
    struct runner_fake *fake = merge((size_t)-1, "deed end");

    (void)state;
    assert_end(fake, RUNNER_DONE, NULL);
    runner_fake_free(fake);
    fake = merge((size_t)-1, "deed make");
    assert_end(fake, RUNNER_UNDONE, REASON_CANCELLED);
    runner_fake_free(fake);
}

struct late {
    struct runner_fake *fake;
    bool asked, cancelled;
};

/* It is not so yet at the first look, and somebody cancels. */
static void asked(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct late *late = arg;

    if (strcmp(query, "query-status") != 0)
        return;
    json_object_set_new(qemu->vm, "status", json_string(late->asked ? "paused" : "running"));
    if (!late->asked)
        late->cancelled = runner_cancel(late->fake->runner);
    late->asked = true;
}

/* QEMU does what it was told to, whether that is waited for or not. */
static void what_qemu_has_taken_is_not_cancelled(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    struct late late = { .fake = fake };
    json_t *plan = plan_new("test", "s1"), *step;

    (void)state;
    fake->qemu->asked = asked;
    fake->qemu->asked_arg = &late;
    plan_add(plan, deed("make", "unmake"));
    step = plan_add(plan, stop_step());
    json_object_set_new(step, "no-return", json_true());
    plan_add(plan, deed("record", NULL));
    step = plan_add(plan, deed("commit", NULL));
    step_commit_point(step);
    runner_fake_run(fake, plan);
    assert_true(late.asked);
    assert_false(late.cancelled);
    assert_end(fake, RUNNER_DONE, NULL);
    runner_fake_free(fake);
}

/* It is so at the first look, and somebody cancels before the answer comes. */
static void asked_in_time(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct late *late = arg;

    (void)qemu;
    if (strcmp(query, "query-status") != 0)
        return;
    late->cancelled = runner_cancel(late->fake->runner);
    late->asked = true;
}

/* Then it is not known yet that the plan is finished; it is, all the same. */
static void what_is_cancelled_in_the_commit_step_is_not_taken_back_behind_it(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    struct late late = { .fake = fake };
    json_t *plan = plan_new("test", "s1");

    (void)state;
    fake->qemu->asked = asked_in_time;
    fake->qemu->asked_arg = &late;
    plan_add(plan, deed("make", "unmake"));
    step_commit_point(plan_add(plan, stop_step()));
    plan_add(plan, deed("end", NULL));
    runner_fake_run(fake, plan);
    assert_true(late.asked && late.cancelled);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, "journal, deed make, command stop, journal committed, deed end");
    runner_fake_free(fake);
}

static struct runner_fake *refused(json_t *vm, json_t *step)
{
    struct runner_fake *fake = runner_fake_new(vm);
    json_t *plan = plan_new("test", "s1");

    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_REFUSE;
    plan_add(plan, deed("make", "unmake"));
    plan_add(plan, step);
    step_commit_point(plan_add(plan, deed("commit", NULL)));
    runner_fake_run(fake, plan);
    return fake;
}

static void an_earlier_migration_says_nothing_of_one_that_was_refused(void **state)
{
    json_t *vm = vm_new();
    struct runner_fake *fake;

    (void)state;
    json_object_set_new(vm, "migration", json_string("completed"));
    fake = refused(vm, step_command("migrate", "qemu", NULL, "migrate", NULL,
                                    json_text("{'is': 'migrated', 'final': ['completed']}")));
    assert_end(fake, RUNNER_UNDONE, REASON_QEMU_FAILED);
    assert_log(fake, "journal, deed make, command migrate, deed unmake");
    runner_fake_free(fake);
}

static void what_was_refused_is_not_waited_for(void **state)
{
    struct runner_fake *fake = refused(vm_new(), stop_step());

    (void)state;
    assert_end(fake, RUNNER_UNDONE, REASON_QEMU_FAILED);
    assert_log(fake, "journal, deed make, command stop, deed unmake");
    runner_fake_free(fake);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_there_is_tried_again),
        cmocka_unit_test(behind_it_the_plan_can_be_taken_back),
        cmocka_unit_test(it_is_not_cancelled_there),
        cmocka_unit_test(what_qemu_has_taken_is_not_cancelled),
        cmocka_unit_test(what_is_cancelled_in_the_commit_step_is_not_taken_back_behind_it),
        cmocka_unit_test(an_earlier_migration_says_nothing_of_one_that_was_refused),
        cmocka_unit_test(what_was_refused_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
