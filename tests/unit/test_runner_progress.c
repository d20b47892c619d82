/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner: how far it is, in one figure over all jobs that move data. */
#include "tests/unit/runner_steps.h"

#include <stdio.h>

#include "policy/reason.h"
#include "qmp/alloc.h"

/* What QEMU says of jobs, a line for each time that it is asked: "ID STATUS CURRENT TOTAL" for each
 * job, parted by ", ".  The last one holds. */
struct script {
    const char *const *lines;
};

static void script_asked(struct fake_qemu *qemu, const char *query, void *arg)
{
    struct script *script = arg;
    char *line, *save = NULL;

    if (strcmp(query, "query-jobs") != 0 || !*script->lines)
        return;
    line = alloc_copy(*script->lines++);
    json_object_clear(json_object_get(qemu->vm, "jobs"));
    for (char *job = strtok_r(line, ",", &save); job; job = strtok_r(NULL, ",", &save)) {
        char id[16], status[16];
        long long current, total;

        assert_int_equal(sscanf(job, " %15s %15s %lld %lld", id, status, &current, &total), 4);
        job_is(qemu, id, status, current, total);
    }
    free(line);
}

static void run(struct runner_fake *fake, json_t *plan, const char *const *lines)
{
    struct script script = { lines };

    fake->qemu->asked = script_asked;
    fake->qemu->asked_arg = &script;
    runner_fake_run(fake, plan);
    assert_null(*script.lines);             /* all was asked for */
}

/* new: two jobs, of 100 and of 50 bytes as the plan says. */
static json_t *plan_two(void)
{
    json_t *plan = plan_new("test", "s1");

    plan_add(plan, merge_step("j1", 100));
    plan_add(plan, merge_step("j2", 50));
    return plan;
}

static void all_jobs_are_one_figure(void **state)
{
    static const char *const lines[] = {
        "j1 created 0 0", "j1 running 0 0", "j1 running 40 100", "j1 pending 100 100",
        "j1 pending 100 100, j2 running 0 0", "j1 pending 100 100, j2 running 20 60",
        "j1 pending 100 100, j2 pending 60 60", NULL
    };
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, plan_two(), lines);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_json_is(fake->progress, "[[0, 150], [0, 150], [0, 150], [40, 150], [100, 150], [100, 150],"
                                   " [120, 160], [160, 160]]");
    runner_fake_free(fake);
}

/* A total that shrinks, a job that begins anew, or is further than its total. */
static void it_never_goes_back(void **state)
{
    static const char *const lines[] = {
        "j1 running 40 400", "j1 running 10 400", "j1 running 60 70",
        "j1 running 90 70", "j1 pending 3 3", "j2 pending 50 50", NULL
    };
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, plan_two(), lines);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_json_is(fake->progress, "[[0, 150], [40, 450], [40, 450], [60, 120], [70, 120], [70, 70],"
                                   " [70, 70]]");
    runner_fake_free(fake);
}

/* One that has ended with nothing to do, and one that QEMU has forgotten. */
static void job_that_is_gone_is_done(void **state)
{
    static const char *const lines[] = {
        "j1 pending 70 100", "j2 running 10 50", "j2 pending 0 0", NULL
    };
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, plan_two(), lines);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_json_is(fake->progress, "[[0, 150], [70, 150], [110, 150], [110, 110]]");
    runner_fake_free(fake);
}

/* j2 is not there yet when j1 is waited for: that is not the same as gone. */
static void job_that_is_still_to_come_is_not_done(void **state)
{
    static const char *const lines[] = { "j1 running 1 100", "j1 pending 100 100",
                                         "j1 pending 100 100, j2 pending 50 50", NULL };
    struct runner_fake *fake = runner_fake_new(vm_new());

    (void)state;
    run(fake, plan_two(), lines);
    assert_json_is(fake->progress, "[[0, 150], [1, 150], [100, 150], [150, 150]]");
    runner_fake_free(fake);
}

static void what_is_taken_back_does_not_count(void **state)
{
    static const char *const lines[] = { "j1 pending 70 100", "j1 running 90 100",
                                         "j1 concluded 95 100", NULL };
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1");

    (void)state;
    plan_add(plan, merge_step("j1", 100));
    plan_add(plan, deed("fails", NULL));
    fake->deed_fails_at = 0;
    run(fake, plan, lines);
    assert_end(fake, RUNNER_UNDONE, REASON_NO_SPACE);
    assert_json_is(fake->progress, "[[0, 100], [70, 100]]");
    runner_fake_free(fake);
}

/* Steps that wait for a job but move nothing, that move nothing QEMU tells of, and other jobs. */
static void only_jobs_that_move_data_count(void **state)
{
    static const char *const lines[] = { "j1 pending 5 10, other running 7 70", NULL };
    struct runner_fake *fake = runner_fake_new(vm_new());
    json_t *plan = plan_new("test", "s1"), *step = merge_step("j1", 1000);

    (void)state;
    json_object_del(step, "moves");
    plan_add(plan, step);
    step = deed("copy", NULL);
    json_object_set_new(step, "moves", json_true());
    json_object_set_new(step, "bytes", json_integer(1000));
    plan_add(plan, step);
    run(fake, plan, lines);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_json_is(fake->progress, "[]");
    runner_fake_free(fake);
}

static void memory_that_is_saved_counts_by_itself(void **state)
{
    static const char *const none[] = { NULL };
    json_t *vm = vm_new(), *plan = plan_new("test", "s1");
    struct runner_fake *fake;

    (void)state;
    json_object_set_new(vm, "ram", json_text("{'total': 1000, 'remaining': 300}"));
    fake = runner_fake_new(vm);
    plan_add(plan, step_command("migrate", "qemu", NULL, "migrate", NULL,
                                json_text("{'is': 'migrated'}")));
    run(fake, plan, none);
    assert_end(fake, RUNNER_DONE, NULL);
    assert_json_is(fake->progress, "[[700, 1000]]");
    runner_fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_jobs_are_one_figure),
        cmocka_unit_test(it_never_goes_back),
        cmocka_unit_test(job_that_is_gone_is_done),
        cmocka_unit_test(job_that_is_still_to_come_is_not_done),
        cmocka_unit_test(what_is_taken_back_does_not_count),
        cmocka_unit_test(only_jobs_that_move_data_count),
        cmocka_unit_test(memory_that_is_saved_counts_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
