/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: what can be taken back only for a while, and what lets the guest go on when nothing works. */
#include "tests/unit/runner_steps.h"

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"

/* early (undone by return), end (no way back), check (settled), later */
static json_t *plan_early(void)
{
    json_t *plan = plan_new("test", "s1"), *step = deed("early", NULL);

    step_undo_until_settled(step, step_deed("return", NULL, json_object()));
    plan_add(plan, step);
    step = deed("end", NULL);
    json_object_set_new(step, "no-return", json_true());
    plan_add(plan, step);
    step = deed("check", NULL);
    step_settled(step);
    plan_add(plan, step);
    plan_add(plan, deed("later", NULL));
    return plan;
}

static void what_was_prepared_is_taken_back_until_it_has_come(void **state)
{
    static const struct {
        size_t at;
        const char *log;
    } rows[] = {
        { 0, "journal, deed early" },
        { 1, "journal, deed early, deed end, deed return" },
        { 3, "journal, deed early, deed end, deed check, deed later" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct runner_fake *fake = runner_fake_new(vm_new());

        fake->deed_fails_at = rows[i].at;
        fake->deed_fails_times = 1;
        runner_fake_run(fake, plan_early());
        assert_end(fake, RUNNER_UNDONE, fake->err.reason);
        assert_log(fake, rows[i].log);
        runner_fake_free(fake);
    }
}

/* Between the step of no return and what settles it there is only the way forward. */
static void what_has_come_is_gone_on_with(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 2;
    fake->deed_fails_times = 1;
    runner_fake_run(fake, plan_early());
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, "journal, deed early, deed end, deed check, deed check, deed later");
    runner_fake_free(fake);
}

/* stop (undone by say, cont; say has a rescue), fail */
static json_t *plan_rescue(void)
{
    json_t *plan = plan_new("test", "s1"), *step = stop_step(), *undo;

    undo = step_deed("say", NULL, json_object());
    step_rescue(undo, step_deed("let-go", NULL, json_object()));
    step_rescue(undo, cont_step());
    step_undo(step, undo);
    step_undo(step, step_deed("more", NULL, json_object()));
    step_undo(step, cont_step());
    plan_add(plan, step);
    plan_add(plan, deed("fail", NULL));
    return plan;
}

static void guest_goes_on_where_the_way_back_is_not_there(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 0;
    fake->deed_fails_times = 2;
    runner_fake_run(fake, plan_rescue());
    assert_end(fake, RUNNER_STUCK, fake->err.reason);
    /* It is not kept waiting by another try. */
    assert_log(fake, "journal, command stop, deed fail, deed say, deed let-go, command cont");
    assert_string_equal(state_str(fake->qemu->vm, "status"), "running");
    runner_fake_free(fake);
}

static void rescue_that_fails_itself_goes_on(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 0;
    fake->deed_fails_times = 3;
    runner_fake_run(fake, plan_rescue());
    assert_end(fake, RUNNER_STUCK, fake->err.reason);
    assert_log(fake, "journal, command stop, deed fail, deed say, deed let-go, command cont");
    runner_fake_free(fake);
}

static void rescue_is_for_what_fails(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 0;
    fake->deed_fails_times = 1;
    runner_fake_run(fake, plan_rescue());
    assert_end(fake, RUNNER_UNDONE, fake->err.reason);
    assert_log(fake, "journal, command stop, deed fail, deed say, deed more, command cont");
    runner_fake_free(fake);
}

/* stop (undone by close, which is tolerated, and cont), fail */
static void what_is_tolerated_is_tried_as_often_as_others(void **state)
{
    static const char *const logs[] = { "deed close", "deed close, deed close, deed close, deed close" };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct runner_fake *fake = runner_fake_new(vm_new());
        json_t *plan = plan_new("test", "s1"), *step = stop_step();
        char log[256];

        step_undo(step, step_tolerated(step_deed("close", NULL, json_object())));
        step_undo(step, cont_step());
        plan_add(plan, step);
        plan_add(plan, deed("fail", NULL));
        fake->deed_fails_at = 0;
        fake->deed_fails_times = i == 0 ? 2 : 6;
        runner_fake_run(fake, plan);
        assert_end(fake, RUNNER_UNDONE, fake->err.reason);
        snprintf(log, sizeof(log), "journal, command stop, deed fail, deed close, %s, command cont", logs[i]);
        assert_log(fake, log);
        runner_fake_free(fake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_prepared_is_taken_back_until_it_has_come),
        cmocka_unit_test(what_has_come_is_gone_on_with),
        cmocka_unit_test(guest_goes_on_where_the_way_back_is_not_there),
        cmocka_unit_test(rescue_that_fails_itself_goes_on),
        cmocka_unit_test(rescue_is_for_what_fails),
        cmocka_unit_test(what_is_tolerated_is_tried_as_often_as_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
