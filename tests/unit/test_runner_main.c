/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: a plan that ends the QEMU it works on, and the way back from there (plan.h: main, restart). */
#include "tests/unit/runner_steps.h"

#include "policy/plan.h"
#include "policy/reason.h"

/* make, process-end (back: again, start, process-switch), load | commit, process-switch */
static json_t *plan_replace(void)
{
    json_t *plan = plan_new("test", "s1"), *step, *back;

    plan_add(plan, deed("make", "unmake"));
    step = deed("process-end", NULL);
    step_main(step, "ends");
    back = deed("again", NULL);
    step_restart(back);
    step_undo(step, back);
    step_undo(step, deed("start", NULL));
    back = deed("process-switch", NULL);
    step_main(back, "begins");
    step_undo(step, back);
    plan_add(plan, step);
    plan_add(plan, deed("load", NULL));
    step = deed("commit", NULL);
    step_commit_point(step);
    plan_add(plan, step);
    step = deed("process-switch", NULL);
    step_main(step, "begins");
    json_object_set_new(step, "can-return", json_true());
    plan_add(plan, step);
    plan_add(plan, cont_step());
    return plan;
}

/* Runs it on two QEMUs; so many deeds fail, the nth first. */
static struct runner_fake *replace(size_t fails_at, unsigned times)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    fake->next = fake_new(fake->base, vm_new());
    fake->deed_fails_at = fails_at;
    fake->deed_fails_times = times;
    runner_fake_run(fake, plan_replace());
    return fake;
}

static void qemu_that_a_step_has_ended_is_not_lost(void **state)
{
    struct runner_fake *fake = replace(2, 1);

    (void)state;
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed again, deed start, "
                     "deed process-switch, deed unmake");
    runner_fake_free(fake);
    fake = replace(4, 1);               /* behind the commit point, but it can return */
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed commit, journal committed, "
                     "deed process-switch, journal, deed again, deed start, deed process-switch, "
                     "deed unmake");
    runner_fake_free(fake);
}

/* A restart would take the QEMU that comes back for the second one. */
static void no_way_back_while_the_journal_says_committed(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->next = fake_new(fake->base, vm_new());
    fake->deed_fails_at = 4;
    fake->deed_fails_times = 2;
    fake->journal_fails_at = 2;
    runner_fake_run(fake, plan_replace());
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed commit, journal committed, "
                     "deed process-switch, journal, deed process-switch, journal, deed again, "
                     "deed start, deed process-switch, deed unmake");
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    runner_fake_free(fake);
}

static void way_back_is_taken_up_again_from_its_beginning(void **state)
{
    struct runner_fake *fake = replace(2, 1 + 2);

    (void)state;
    /* again fails itself, then start */
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed again, deed again, "
                     "deed again, deed start, deed process-switch, deed unmake");
    runner_fake_free(fake);
    /* start fails, then again itself */
    fake = runner_fake_new(vm_new());
    fake->next = fake_new(fake->base, vm_new());
    fake->deed_fails_at = 4;
    fake->deed_fails_times = 2;
    runner_fake_run_cancel(fake, plan_replace(), "deed load");
    assert_end(fake, RUNNER_UNDONE, REASON_CANCELLED);
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed again, deed start, "
                     "deed again, deed again, deed start, deed process-switch, deed unmake");
    runner_fake_free(fake);
}

static void without_any_qemu_the_journal_stays(void **state)
{
    struct runner_fake *fake = replace(2, 99);

    (void)state;
    assert_end(fake, RUNNER_LOST, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed process-end, deed load, deed again, deed again, "
                     "deed again, deed again, deed again");
    runner_fake_free(fake);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(qemu_that_a_step_has_ended_is_not_lost),
        cmocka_unit_test(no_way_back_while_the_journal_says_committed),
        cmocka_unit_test(way_back_is_taken_up_again_from_its_beginning),
        cmocka_unit_test(without_any_qemu_the_journal_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
