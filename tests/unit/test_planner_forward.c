/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_recover behind the commit point: what is done already is not done again, in a QEMU that is another one
 * nothing is, and a third QEMU takes the place of a second one that has died. */
#include "tests/unit/planner_world.h"

#include "policy/plan.h"
#include "policy/planner_inplace.h"
#include "policy/state.h"

#define RESPAWN "{'name': 's1', 'discard': true, 'method': 'respawn'}"
#define REPLACE "{'name': 's1', 'discard': true, 'method': 'replace'}"
#define IN_PLACE "{'name': 's1', 'discard': true, 'method': 'in-place'}"

/* Two disks and s1, whose memory is a stream or a vmstate. */
static struct planner_world *world_saved(const char *memory)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *disk, *drives = json_object();
    char request[80];
    size_t i;

    json_array_foreach(world->vm, i, disk)
        json_object_set_new(drives, state_str(disk, "qdev"),
                            json_pack("{s:s, s:b}", "type", i == 0 ? "virtio-blk-device" : "ide-hd", "iothread", 0));
    json_decref(world->w.drives);
    world->w.drives = drives;
    snprintf(request, sizeof(request), "{'name': 's1', 'memory': '%s'}", memory);
    world_do(world, planner_create, request);
    return world;
}

static json_t *recover(struct planner_world *world, const json_t *plan)
{
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", 1);
    struct err err = ERR_INIT;
    json_t *recovery = planner_recover(&world->w, world->state, journal, &err);

    assert_non_null(recovery);
    json_decref(journal);
    return recovery;
}

static void recovers_by(struct planner_world *world, const json_t *plan, const char *names)
{
    json_t *recovery = recover(world, plan);

    assert_steps(recovery, names);
    json_decref(recovery);
}

/* The record is that of the plan. */
static void written(struct planner_world *world, const json_t *plan)
{
    json_decref(world->state);
    world->state = json_deep_copy(json_object_get(plan, "after"));
}

static void guest_that_was_let_go_on_is_left_as_it_is(void **state)
{
    struct planner_world *world = world_saved("stream");
    json_t *plan = world_plan(world, planner_revert, RESPAWN);

    (void)state;
    recovers_by(world, plan, "cont clients-release state-write files-remove?");
    written(world, plan);
    recovers_by(world, plan, "clients-release files-remove?");
    json_decref(plan);
    world_free(world);
    world = world_saved("stream");
    plan = world_plan(world, planner_create, "{'name': 's2'}");
    written(world, plan);
    recovers_by(world, plan, "");
    /* that it was adopted is on record, not that the guest goes on */
    state_snapshot_remove(world->state, "s2");
    recovers_by(world, plan, "cont?");
    json_decref(plan);
    world_free(world);
}

static void revert_in_place_has_a_note_of_that(void **state)
{
    struct planner_world *world = world_saved("vmstate");
    json_t *plan = world_plan(world, planner_revert, IN_PLACE), *recovery;

    (void)state;
    written(world, plan);
    recovery = recover(world, plan);
    assert_non_null(plan_step(recovery, "cont", 0));
    json_decref(recovery);
    json_object_set_new(plan, "resumed", json_true());
    recovery = recover(world, plan);
    assert_false(plan_has_step(recovery, "cont"));
    assert_non_null(plan_step(recovery, "files-remove", 0));
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

static void in_another_qemu_only_files_are_ours(void **state)
{
    struct planner_world *world = world_saved("vmstate");
    json_t *plan = world_plan(world, planner_revert, IN_PLACE);

    (void)state;
    written(world, plan);
    world->w.other = true;
    recovers_by(world, plan, "clients-release resumed-note? file-remove? file-remove? files-remove?");
    json_decref(plan);
    world_free(world);
}

static void third_one_is_started_as_the_second_was(void **state)
{
    struct planner_world *world = world_saved("stream");
    json_t *plan = world_plan(world, planner_revert, RESPAWN), *recovery;

    (void)state;
    assert_true(planner_can_relaunch(plan, world->state));
    json_object_set_new(plan, "made", json_text("{'/i/a.vm-6.qcow2': {'size': 1, 'mtime': '2.0'}}"));
    world->w.gone = true;
    recovery = recover(world, plan);
    assert_steps(recovery, "stood-still memory-check process-discard process-start check-fit getfd migrate-incoming "
                           "loaded check-disks settings-carry? process-switch cont clients-release state-write "
                           "files-remove?");
    assert_json_is(json_object_get(recovery, "main-gone"), "true");
    assert_json(json_object_get(recovery, "after"), json_object_get(plan, "after"));
    assert_json_is(json_object_get(plan_step(recovery, "process-switch", 0), "main"), "'begins'");
    json_decref(recovery);
    json_decref(plan);
    plan = world_plan(world, planner_revert, REPLACE);
    recovers_by(world, plan, "memory-check process-discard process-start check-fit getfd migrate-incoming loaded "
                             "check-disks settings-carry? process-switch cont clients-release state-write "
                             "files-remove?");
    json_decref(plan);
    world_free(world);
}

/* What was written into is made anew. */
static void third_one_loads_a_vmstate_from_a_new_scratch(void **state)
{
    struct planner_world *world = world_saved("vmstate");
    json_t *plan = world_plan(world, planner_revert, RESPAWN);

    (void)state;
    world->w.gone = true;
    recovers_by(world, plan, "memory-check process-discard file-remove vmstate-create process-start check-fit started "
                             "vmstate-open memory-load job-dismiss vmstate-close check-disks settings-carry? "
                             "process-switch cont clients-release state-write files-remove? file-remove?");
    json_decref(plan);
    world_free(world);
}

static void there_are_not_more_and_more_of_them(void **state)
{
    struct planner_world *world = world_saved("stream");
    json_t *plan = world_plan(world, planner_revert, RESPAWN), *journal = json_pack("{s:O}", "plan", plan);

    (void)state;
    assert_false(planner_is_relaunch(journal));
    planner_note_relaunch(plan);
    assert_true(planner_is_relaunch(journal));
    assert_true(planner_can_relaunch(plan, world->state));
    planner_note_relaunch(plan);
    assert_false(planner_can_relaunch(plan, world->state));
    json_decref(journal);
    json_decref(plan);
    plan = world_plan(world, planner_revert, RESPAWN);
    written(world, plan); /* the guest has run in it */
    assert_false(planner_can_relaunch(plan, world->state));
    json_decref(plan);
    world_free(world);
}

static bool dismisses_load(const json_t *step)
{
    const char *id = state_str(json_object_get(json_object_get(step, "command"), "arguments"), "id");

    return id && strcmp(id, IN_PLACE_JOB_LOAD) == 0;
}

/* Between which steps a revert in place may not be left. */
static void memory_and_disks_are_one_or_not(void **state)
{
    struct planner_world *world = world_saved("vmstate");
    json_t *plan = world_plan(world, planner_revert, IN_PLACE), *steps = json_object_get(plan, "steps"), *step;
    json_t *undo = json_array();
    bool torn = false, over = false;
    size_t i;

    (void)state;
    json_array_foreach(steps, i, step) {
        torn = torn || strcmp(state_str(step, "step"), IN_PLACE_SWITCH) == 0;
        assert_int_equal(in_place_tears(steps, i), torn);
    }
    for (i = json_array_size(steps); i-- > 0;)
        json_array_extend(undo, json_object_get(json_array_get(steps, i), "undo"));
    json_array_foreach(undo, i, step) {
        assert_int_equal(in_place_tears(undo, i), !over);
        over = over || dismisses_load(step);
    }
    assert_true(torn && over);
    json_decref(undo);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guest_that_was_let_go_on_is_left_as_it_is),
        cmocka_unit_test(revert_in_place_has_a_note_of_that),
        cmocka_unit_test(in_another_qemu_only_files_are_ours),
        cmocka_unit_test(third_one_is_started_as_the_second_was),
        cmocka_unit_test(third_one_loads_a_vmstate_from_a_new_scratch),
        cmocka_unit_test(there_are_not_more_and_more_of_them),
        cmocka_unit_test(memory_and_disks_are_one_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
