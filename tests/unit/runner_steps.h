/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner_steps: what plans for runner_fake.h are made of. */
#ifndef TESTS_UNIT_RUNNER_STEPS_H
#define TESTS_UNIT_RUNNER_STEPS_H

#include "tests/unit/runner_fake.h"

#include "policy/plan.h"

/* new: the VM of a fake QEMU. */
static inline json_t *vm_new(void)
{
    return json_text("{'status': 'running', 'nodes': {}, 'jobs': {}, 'disks': {'d0': 'base'},"
                     " 'capabilities': {}, 'parameters': {}}");
}

/* new: undo may be NULL. */
static inline json_t *deed(const char *name, const char *undo)
{
    json_t *step = step_deed(name, NULL, json_object());

    if (undo)
        step_undo(step, step_deed(undo, NULL, json_object()));
    return step;
}

/* new: stop and cont. */
static inline json_t *stop_step(void)
{
    return step_command("stop", "qemu", NULL, "stop", NULL, expect_status("paused", NULL));
}

static inline json_t *cont_step(void)
{
    return step_command("cont", "qemu", NULL, "cont", NULL, expect_status("running", NULL));
}

/* new: a job that is waited for as long as it takes, until it is "pending". */
static inline json_t *merge_step(const char *id, json_int_t bytes)
{
    json_t *args = json_pack("{s:s, s:s}", "job-id", id, "device", "d0");
    json_t *step = step_command("merge", "qemu", NULL, "block-commit", args,
                                expect_job(id, "pending"));

    step_timeout(step, 0);
    json_object_set_new(step, "bytes", json_integer(bytes));
    json_object_set_new(step, "moves", json_true());
    step_undo(step, step_command("cancel", "qemu", NULL, "block-job-cancel",
                                 json_pack("{s:s}", "device", id), expect_job(id, "concluded")));
    return step;
}

/* The job's status and progress in the fake QEMU from now on. */
static inline void job_is(struct fake_qemu *qemu, const char *id, const char *status,
                          json_int_t current, json_int_t total)
{
    json_t *progress = json_object_get(qemu->vm, "progress");

    if (!progress) {
        progress = json_object();
        json_object_set_new(qemu->vm, "progress", progress);
    }
    json_object_set_new(json_object_get(qemu->vm, "jobs"), id, json_string(status));
    json_object_set_new(progress, id, json_pack("{s:I, s:I}", "current-progress", current,
                                                "total-progress", total));
}

static inline void assert_end(const struct runner_fake *fake, enum runner_end end,
                              const char *reason)
{
    if (fake->end != end)
        fail_msg("end %d: %s", fake->end, fake->err.set ? fake->err.desc : "no error");
    assert_int_equal(fake->err.set, reason != NULL);
    if (reason)
        assert_string_equal(fake->err.reason, reason);
}

#endif
