/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What settles a revert in place that was interrupted (policy/planner_inplace_recover.c). */
#include "tests/unit/planner_world.h"

#include "policy/state.h"

#define REVERT "{'name': 's1', 'discard': true}"

/* A VM with the snapshot s1, whose memory is a vmstate. */
static struct planner_world *world_saved(void)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *drives = json_object(), *disk;
    size_t i;

    json_array_foreach(world->vm, i, disk)
        json_object_set_new(drives, state_str(disk, "qdev"),
                            json_pack("{s:s, s:b}", "type", i == 0 ? "virtio-blk-device" : "ide-hd",
                                      "iothread", 0));
    json_decref(world->w.drives);
    world->w.drives = drives;
    world->w.devices = json_text("{'vd0': true, 'sd1': true}");
    world_do(world, planner_create, "{'name': 's1', 'memory': 'vmstate'}");
    return world;
}

/* Puts the disks on what the plan switches them to, or only opens that. */
static void open_overlays(struct planner_world *world, const json_t *old, bool moved)
{
    json_t *disk;
    size_t i;

    for (i = 0; i < 2 && !moved; i++)
        world_node(world, state_str(step_arguments(plan_step(old, "drive-switch", i)), "value"));
    if (!moved)
        return;
    json_array_foreach(world->vm, i, disk)
        json_object_set(json_array_get(json_object_get(disk, "chain"), 0), "node",
                        json_object_get(step_arguments(plan_step(old, "drive-switch", i)), "value"));
    world_graph(world);
}

/* The steps that settle it, when QEMU lists these jobs; opened: it has the new overlays, moved: its disks are
 * on them. */
static void assert_settled_as(const char *status, const char *jobs, bool opened, bool moved, bool again,
                              const char *names)
{
    struct planner_world *world = world_saved();
    json_t *old = world_plan(world, planner_revert, REVERT);
    json_t *journal = json_pack("{s:b, s:O}", "committed", 0, "plan", old), *plan;
    struct err err = ERR_INIT;

    if (opened)
        open_overlays(world, old, moved);
    world_status_set(world, status);
    json_decref(world->w.jobs);
    world->w.jobs = json_text(jobs);
    plan = planner_recover(&world->w, world->state, journal, &err);
    assert_non_null(plan);
    assert_steps(plan, names);
    assert_int_equal(json_is_true(json_object_get(plan, "again")), again);
    json_decref(plan);
    json_decref(journal);
    json_decref(old);
    world_free(world);
}

static void assert_settled(const char *jobs, bool again, const char *names)
{
    assert_settled_as("paused", jobs, true, false, again, names);
}

#define BACK "drive-return drive-return "
#define LEFT "blockdev-del? blockdev-del? vmstate-close? vmstate-close? blockdev-del? blockdev-del? " \
             "file-remove? file-remove? file-remove? file-remove?"
#define TIDY "job-end? job-dismiss? cont " LEFT
#define TIDY_RUNNING "job-end? job-dismiss? " LEFT

static void jobs_tell_what_is_in_memory(void **state)
{
    (void)state;
    assert_settled("[]", false, BACK TIDY);
    assert_settled("[{'id': 'qsnap-keep', 'status': 'running'}]", true, "job-end");
    assert_settled("[{'id': 'qsnap-keep', 'status': 'concluded'}]", false, BACK TIDY);
    assert_settled("[{'id': 'qsnap-load', 'status': 'running'}]", true, "job-end");
    assert_settled("[{'id': 'qsnap-load', 'status': 'concluded'}]", false,
                   "job-end? job-dismiss? " BACK "memory-return job-dismiss job-dismiss " BACK TIDY);
    assert_settled("[{'id': 'qsnap-load', 'status': 'concluded', 'error': 'x'},"
                   " {'id': 'qsnap-return', 'status': 'concluded', 'error': 'y'}]", false,
                   "job-end? job-dismiss? " BACK "memory-return job-dismiss job-dismiss " BACK TIDY);
    assert_settled("[{'id': 'qsnap-load', 'status': 'concluded'},"
                   " {'id': 'qsnap-return', 'status': 'concluded'}]", false,
                   "job-dismiss job-dismiss " BACK TIDY);
    assert_settled("[{'id': 'qsnap-return', 'status': 'concluded'}]", false,
                   "job-dismiss job-dismiss " BACK TIDY);
    /* another QEMU than the one that was interrupted, or one that had not come so far */
    assert_settled_as("paused", "[]", false, false, false, TIDY);
}

/* By another monitor, between two proxies: it must not run while its disks change, and what it did on disks of
 * another time is nothing to keep. */
static void guest_that_somebody_let_run_is_stopped_first(void **state)
{
    static const char again[] = "stop job-end? job-dismiss? " BACK "memory-return job-dismiss job-dismiss " BACK TIDY;
    static const char goes_on[] = BACK TIDY_RUNNING;

    (void)state;
    assert_settled_as("running", "[{'id': 'qsnap-load', 'status': 'concluded'}]", true, true, false, again);
    assert_settled_as("running", "[{'id': 'qsnap-load', 'status': 'concluded'}]", true, false, false, again);
    assert_settled_as("running", "[]", true, true, false, again);
    /* nothing has moved, or all is back */
    assert_settled_as("running", "[]", true, false, false, goes_on);
    assert_settled_as("running", "[{'id': 'qsnap-return', 'status': 'concluded'}]", true, false, false,
                      "job-dismiss job-dismiss " BACK TIDY_RUNNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_tell_what_is_in_memory),
        cmocka_unit_test(guest_that_somebody_let_run_is_stopped_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
