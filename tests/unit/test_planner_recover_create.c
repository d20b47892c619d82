/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_recover: a create that was interrupted while QEMU ran on. */
#include "tests/unit/planner_recover.h"

/* The overlays are there and none is in use: all is taken back. */
static void create_that_has_not_moved_the_disks_is_taken_back(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4'}"), *recovery;

    (void)state;
    json_array_append_new(world->vm, json_text("{'chain': [{'node': 'qsnap-6', 'drv': 'qcow2',"
                                               " 'file': '/i/a.vm-6.qcow2'}]}"));
    world_graph(world);
    world_status_set(world, "paused");
    recovery = recover(world, plan, false);
    assert_steps(recovery, "migrate-cancel? cont blockdev-del file-remove closefd? "
                           "migrate-parameters-restore file-remove");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* The guest writes to the overlay: it stays, on record, without the snapshot. */
static void overlay_that_the_guest_is_on_is_adopted(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4'}"), *recovery;
    const json_t *record;

    (void)state;
    json_array_insert_new(json_object_get(json_array_get(world->vm, 0), "chain"), 0,
                          json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                    " 'file': '/i/a.vm-6.qcow2'}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    record = record_of(recovery, "state-write");
    assert_null(state_snapshot(record, "s4"));
    assert_string_equal(state_str(record, "current"), "s3");
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L6");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* No disk of that name: that it went back to the image below is nowhere to be seen. */
static void overlay_of_a_disk_that_was_unplugged_is_kept(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4', 'memory': 'none'}"), *recovery;

    (void)state;
    json_array_clear(world->vm);
    json_array_append_new(world->vm, json_text("{'chain': [{'node': 'qsnap-6', 'drv': 'qcow2',"
                                               " 'file': '/i/a.vm-6.qcow2'}]}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    assert_steps(recovery, "state-write files-remove?");
    assert_string_equal(state_str(state_disk(record_of(recovery, "state-write"), "drive:d0"), "active"),
                        "L6");
    assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0), "args"),
                                   "files"), "[]");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* By another monitor, while there was no proxy. */
static void overlay_below_one_that_others_have_made_is_kept(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4', 'memory': 'none'}"), *recovery;
    json_t *chain = json_object_get(json_array_get(world->vm, 0), "chain");

    (void)state;
    json_array_insert_new(chain, 0, json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                              " 'file': '/i/a.vm-6.qcow2'}"));
    json_array_insert_new(chain, 0, json_text("{'node': 'theirs', 'drv': 'qcow2', 'file': '/i/theirs'}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    assert_steps(recovery, "state-write files-remove?");
    assert_string_equal(state_str(state_disk(record_of(recovery, "state-write"), "drive:d0"), "active"),
                        "L6");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* The record that it writes has the generation of the one that the create would have written. */
static void adoption_that_was_interrupted_is_gone_on_with(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4'}"), *recovery, *first;

    (void)state;
    json_array_insert_new(json_object_get(json_array_get(world->vm, 0), "chain"), 0,
                          json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                    " 'file': '/i/a.vm-6.qcow2'}"));
    world_graph(world);
    first = recover(world, plan, false);
    json_decref(world->state);
    world->state = json_deep_copy(record_of(first, "state-write"));
    recovery = recover(world, plan, false);
    assert_null(json_object_get(recovery, "after"));
    assert_steps(recovery, "migrate-cancel? files-remove? closefd? migrate-parameters-restore file-remove");
    json_decref(first);
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* What the journal says already needs no room: the guest does not wait for the record. */
static void guest_that_was_stopped_goes_on_before_the_record(void **state)
{
    static const char *const steps[] = { "state-write files-remove? cont", "cont state-write files-remove?" };

    (void)state;
    for (int adopt = 0; adopt < 2; adopt++) {
        struct planner_world *world = world_one(false);
        json_t *plan = world_plan(world, planner_create, "{'name': 's4', 'memory': 'none'}"), *recovery;

        json_array_insert_new(json_object_get(json_array_get(world->vm, 0), "chain"), 0,
                              json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                        " 'file': '/i/a.vm-6.qcow2'}"));
        json_object_set_new(plan, "adopt", json_boolean(adopt));
        world_status_set(world, "paused");
        world_graph(world);
        recovery = recover(world, plan, false);
        assert_steps(recovery, steps[adopt]);
        json_decref(recovery);
        json_decref(plan);
        world_free(world);
    }
}

/* A create that is being taken back: one disk has gone back already. */
static void disk_that_has_gone_back_is_recorded_so(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "paused");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}"), *recovery;
    const json_t *record, *base;

    (void)state;
    /* Taken before the merge back wrote to it. */
    json_object_set_new(state_layer(json_object_get(plan, "after"), "L4"), "print", json_object());
    json_array_insert_new(json_object_get(json_array_get(world->vm, 1), "chain"), 0,
                          json_text("{'node': 'qsnap-5', 'drv': 'qcow2',"
                                    " 'file': '/i/b.vm-5.qcow2'}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    record = record_of(recovery, "state-write");
    base = state_layer(record, "L2");
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L2");
    assert_string_equal(state_str(state_disk(record, "drive:d1"), "active"), "L5");
    assert_null(state_layer(record, "L3"));
    assert_null(json_object_get(base, "print"));
    assert_null(json_object_get(state_layer(record, "L4"), "print"));
    assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-3.qcow2']");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_that_has_not_moved_the_disks_is_taken_back),
        cmocka_unit_test(overlay_that_the_guest_is_on_is_adopted),
        cmocka_unit_test(overlay_of_a_disk_that_was_unplugged_is_kept),
        cmocka_unit_test(overlay_below_one_that_others_have_made_is_kept),
        cmocka_unit_test(adoption_that_was_interrupted_is_gone_on_with),
        cmocka_unit_test(guest_that_was_stopped_goes_on_before_the_record),
        cmocka_unit_test(disk_that_has_gone_back_is_recorded_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
