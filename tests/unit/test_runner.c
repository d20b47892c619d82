/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: each step acts once and is verified; what fails is taken back, or gone on with. */
#include "tests/unit/runner_steps.h"

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"

static json_t *node_add(const char *name)
{
    json_t *step = step_command("add", "qemu", NULL, "blockdev-add",
                                json_pack("{s:s}", "node-name", name), expect_node(name, true));

    step_undo(step, step_command("del", "qemu", NULL, "blockdev-del",
                                 json_pack("{s:s}", "node-name", name),
                                 expect_node(name, false)));
    return step;
}

/* make, add n1, stop | commit | cont, end */
static json_t *plan_make(void)
{
    json_t *plan = plan_new("test", "s1"), *step;

    plan_add(plan, deed("make", "unmake"));
    plan_add(plan, node_add("n1"));
    step = stop_step();
    step_undo(step, cont_step());
    plan_add(plan, step);
    step = deed("commit", NULL);
    step_commit_point(step);
    plan_add(plan, step);
    plan_add(plan, cont_step());
    plan_add(plan, deed("end", NULL));
    return plan;
}

static void journal_comes_before_the_first_action_and_at_the_commit_point(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_DONE, NULL);
    assert_true(runner_committed(fake->runner));
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, deed commit, "
                     "journal committed, command cont, deed end");
    runner_fake_free(fake);
}

/* What QEMU does not survive otherwise goes out only where it has to and may. */
static void command_that_needs_something_asks_first(void **state)
{
    static const struct {
        const char *needs, *log;
        enum runner_end end;
    } rows[] = {
        { "n0", "journal, command stop, command blockdev-add, deed end", RUNNER_DONE },
        { "n9", "journal, command stop, command cont", RUNNER_UNDONE },
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct runner_fake *fake = runner_fake_new(vm_new());
        json_t *plan = plan_new("test", "s1"), *step = stop_step();

        json_object_set_new(json_object_get(fake->qemu->vm, "nodes"), "n0", json_true());
        step_undo(step, cont_step());
        plan_add(plan, step);
        for (size_t k = 0; k < 2; k++) { /* the second time it is so already */
            step = node_add("n1");
            json_object_del(step, "undo");
            step_needs(step, expect_node(rows[i].needs, true));
            plan_add(plan, step);
        }
        plan_add(plan, deed("end", NULL));
        runner_fake_run(fake, plan);
        assert_end(fake, rows[i].end, rows[i].end == RUNNER_DONE ? NULL : REASON_QEMU_FAILED);
        assert_log(fake, rows[i].log);
        runner_fake_free(fake);
    }
}

static void without_a_journal_nothing_is_done(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->journal_fails_at = 0;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal");
    runner_fake_free(fake);
}

static void commit_point_that_cannot_be_written_is_taken_back(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->journal_fails_at = 1;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_false(runner_committed(fake->runner));
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, deed commit, "
                     "journal committed, command cont, command blockdev-del, deed unmake");
    runner_fake_free(fake);
}

/* "state-write" says so in the record itself. */
static void record_that_was_written_is_the_commit_point(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1"), *step = deed("state-write", NULL);

    (void)state;
    step_commit_point(step);
    plan_add(plan, step);
    plan_add(plan, deed("end", NULL));
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, "journal, deed state-write, deed end");
    runner_fake_free(fake);
}

static void refused_action_is_not_undone_itself(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_REFUSE;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_QEMU_FAILED);
    assert_non_null(strstr(fake->err.desc, "add"));
    assert_log(fake, "journal, deed make, command blockdev-add, deed unmake");
    runner_fake_free(fake);
}

static void accepted_action_without_effect_is_undone_too(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_IGNORE;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_QEMU_FAILED);
    assert_log(fake, "journal, deed make, command blockdev-add, command blockdev-del, deed unmake");
    runner_fake_free(fake);
    fake = runner_fake_new(vm_new());       /* one that is waited for */
    fake->qemu->at = 1;
    fake->qemu->trouble = FAKE_IGNORE;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_TIMEOUT);
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, command cont, "
                     "command blockdev-del, deed unmake");
    runner_fake_free(fake);
}

/* What counts is what QEMU says when it is asked. */
static void refused_action_whose_effect_is_there_counts(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_DONE_REFUSED;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_DONE, NULL);
    runner_fake_free(fake);
}

static void failed_deed_is_not_undone_itself(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 0;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make");
    runner_fake_free(fake);
}

static void lost_qemu_leaves_the_journal(void **state)
{
    for (size_t at = 0; at < 3; at++)
        for (int after = 0; after < 2; after++) {
            struct runner_fake *fake = runner_fake_new(vm_new());

            (void)state;
            fake->qemu->at = at;
            fake->qemu->trouble = after ? FAKE_CUT_AFTER : FAKE_CUT_BEFORE;
            runner_fake_run(fake, plan_make());
            assert_end(fake, RUNNER_LOST, REASON_QEMU_FAILED);
            assert_int_equal(json_array_size(fake->qemu->log), at + 1);
            runner_fake_free(fake);
        }
}

static void silent_qemu_is_taken_back(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 1;
    fake->qemu->trouble = FAKE_SILENT;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_UNDONE, REASON_TIMEOUT);
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, command cont, "
                     "command blockdev-del, deed unmake");
    runner_fake_free(fake);
}

/* It comes while a deed is being done that takes the plan back. */
static void answer_that_comes_too_late_is_nobodys(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1"), *step;

    (void)state;
    plan_add(plan, deed("make", "unmake"));
    plan_add(plan, step_command("late", "qemu", NULL, "balloon", NULL,
                                expect_status("running", NULL)));
    step = deed("commit", NULL);
    step_commit_point(step);
    plan_add(plan, step);
    fake->qemu->at = 0;
    fake->qemu->trouble = FAKE_LATE;
    fake->deed_ms = 2 * FAKE_LATE_MS;
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_UNDONE, REASON_TIMEOUT);
    assert_log(fake, "journal, deed make, command balloon, deed unmake");
    runner_fake_free(fake);
}

static void behind_the_commit_point_a_step_is_tried_again(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->qemu->at = 2;
    fake->qemu->trouble = FAKE_REFUSE;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_DONE, NULL);
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, deed commit, "
                     "journal committed, command cont, command cont, deed end");
    runner_fake_free(fake);
}

static void step_that_never_works_is_the_end(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    fake->deed_fails_at = 2;                /* "end" */
    fake->deed_fails_times = 1000;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_STUCK, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, deed commit, "
                     "journal committed, command cont, deed end, deed end, deed end, deed end, "
                     "deed end");
    runner_fake_free(fake);
    fake = runner_fake_new(vm_new());
    fake->deed_fails_at = 1;                /* "commit", and all that would undo it */
    fake->deed_fails_times = 1000;
    runner_fake_run(fake, plan_make());
    assert_end(fake, RUNNER_STUCK, REASON_NO_SPACE);
    assert_non_null(strstr(fake->err.desc, "commit"));      /* why it was taken back at all */
    assert_log(fake, "journal, deed make, command blockdev-add, command stop, deed commit, "
                     "command cont, command blockdev-del, deed unmake, deed unmake, deed unmake, "
                     "deed unmake, deed unmake");
    runner_fake_free(fake);
}

/* ... in what is undone, and behind the commit point. */
static void lenient_step_may_fail(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1"), *step = deed("make", NULL);

    (void)state;
    step_undo(step, step_lenient(step_deed("perhaps", NULL, json_object())));
    step_undo(step, step_deed("unmake", NULL, json_object()));
    plan_add(plan, step);
    plan_add(plan, deed("fails", NULL));
    fake->deed_fails_at = 1;
    fake->deed_fails_times = 2;
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_log(fake, "journal, deed make, deed fails, deed perhaps, deed unmake");
    runner_fake_free(fake);
    fake = runner_fake_new(vm_new());
    plan = plan_make();
    step_lenient(json_array_get(json_object_get(plan, "steps"), 5));
    fake->deed_fails_at = 2;
    runner_fake_run(fake, plan);
    assert_end(fake, RUNNER_DONE, NULL);
    runner_fake_free(fake);
}

static void cancelling_takes_back_what_was_done(void **state)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    runner_fake_run_cancel(fake, plan_make(), "command blockdev-add");
    assert_end(fake, RUNNER_UNDONE, REASON_CANCELLED);
    assert_log(fake, "journal, deed make, command blockdev-add, command blockdev-del, deed unmake");
    runner_fake_free(fake);
    fake = runner_fake_new(vm_new());
    runner_fake_run_cancel(fake, plan_make(), "journal committed");     /* too late */
    assert_end(fake, RUNNER_DONE, NULL);
    assert_false(runner_cancel(fake->runner));
    runner_fake_free(fake);
}

/* ---- jobs that QEMU dismisses by itself ---- */

struct job_end {
    struct runner_fake *fake;
    const char *data;           /* of the event */
    bool cancelled;
};

/* When QEMU is asked for its jobs the event is there already, and the job is not. */
static void job_ends(struct fake_qemu *qemu, const char *query, void *arg)
{
    const struct job_end *job_end = arg;
    json_t *data;

    if (strcmp(query, "query-jobs") != 0)
        return;
    json_object_clear(json_object_get(qemu->vm, "jobs"));
    data = json_text(job_end->data);
    runner_job_ended(job_end->fake->runner, data, job_end->cancelled);
    json_decref(data);
}

static void finalize(struct job_end job_end, enum runner_end end, const char *word)
{
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1");

    job_end.fake = fake;
    job_is(fake->qemu, "j1", "pending", 1, 1);
    fake->qemu->asked = job_ends;
    fake->qemu->asked_arg = &job_end;
    plan_add(plan, step_command("end", "qemu", NULL, "job-finalize", json_pack("{s:s}", "id", "j1"),
                                expect_job("j1", "concluded")));
    runner_fake_run(fake, plan);
    assert_end(fake, end, word ? REASON_QEMU_FAILED : NULL);
    if (word && !strstr(fake->err.desc, word))
        fail_msg("'%s' is not in '%s'", word, fake->err.desc);
    runner_fake_free(fake);
}

static void what_became_of_a_job_tells_its_event(void **state)
{
    (void)state;
    finalize((struct job_end){ .data = "{'device': 'j1', 'type': 'stream', 'len': 1, 'offset': 1}" },
             RUNNER_DONE, NULL);
    finalize((struct job_end){ .data = "{'device': 'j1', 'type': 'stream', 'len': 1, 'offset': 0,"
                                       " 'error': 'No space left on device'}" },
             RUNNER_UNDONE, "No space left on device");
    finalize((struct job_end){ .data = "{'device': 'j1', 'type': 'stream', 'len': 1, 'offset': 0}",
                               .cancelled = true },
             RUNNER_UNDONE, "cancelled");
    finalize((struct job_end){ .data = "{'device': 'j2', 'type': 'stream', 'len': 1, 'offset': 1}" },
             RUNNER_UNDONE, "gone");
    finalize((struct job_end){ .data = "{'device': 5}" }, RUNNER_UNDONE, "gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_comes_before_the_first_action_and_at_the_commit_point),
        cmocka_unit_test(command_that_needs_something_asks_first),
        cmocka_unit_test(without_a_journal_nothing_is_done),
        cmocka_unit_test(commit_point_that_cannot_be_written_is_taken_back),
        cmocka_unit_test(record_that_was_written_is_the_commit_point),
        cmocka_unit_test(refused_action_is_not_undone_itself),
        cmocka_unit_test(accepted_action_without_effect_is_undone_too),
        cmocka_unit_test(refused_action_whose_effect_is_there_counts),
        cmocka_unit_test(failed_deed_is_not_undone_itself),
        cmocka_unit_test(lost_qemu_leaves_the_journal),
        cmocka_unit_test(silent_qemu_is_taken_back),
        cmocka_unit_test(answer_that_comes_too_late_is_nobodys),
        cmocka_unit_test(behind_the_commit_point_a_step_is_tried_again),
        cmocka_unit_test(step_that_never_works_is_the_end),
        cmocka_unit_test(lenient_step_may_fail),
        cmocka_unit_test(cancelling_takes_back_what_was_done),
        cmocka_unit_test(what_became_of_a_job_tells_its_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
