/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_create: what a snapshot of a VM does step by step, its record, and what it refuses. */
#include "tests/unit/planner_world.h"

#include "policy/reason.h"
#include "policy/state.h"

static void running_guest_is_saved_with_its_memory(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'description': 'first'}");
    const json_t *step;

    (void)state;
    assert_steps(plan, "overlay-create* blockdev-add* overlay-create* blockdev-add* memory-create* "
                       "migrate-parameters* getfd* stop* migrate* migrate-end transaction* cont "
                       "memory-seal layers-freeze migrate-parameters-restore state-write!");
    assert_string_equal(state_str(plan, "operation"), "snapshot-create");
    assert_string_equal(state_str(plan, "name"), "s1");
    step = plan_step(plan, "overlay-create", 0);
    assert_string_equal(state_str(step, "target"), "/i/a.vm-3.qcow2");
    assert_json_is(json_object_get(step, "args"),
                   "{'file': '/i/a.vm-3.qcow2', 'size': 67108864, 'backing': '/i/a.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_json_is(step_arguments(plan_step(plan, "blockdev-add", 0)),
                   "{'node-name': 'qsnap-3', 'driver': 'qcow2', 'backing': null,"
                   " 'file': {'driver': 'file', 'filename': '/i/a.vm-3.qcow2'}}");
    assert_json_is(json_object_get(plan_step(plan, "overlay-create", 1), "args"),
                   "{'file': '/i/b.vm-5.qcow2', 'size': 67108864, 'backing': '/i/b.raw',"
                   " 'backing-format': 'raw'}");
    assert_json_is(step_arguments(plan_step(plan, "transaction", 0)),
                   "{'actions': [{'type': 'blockdev-snapshot',"
                   "              'data': {'node': '#block1', 'overlay': 'qsnap-3'}},"
                   "             {'type': 'blockdev-snapshot',"
                   "              'data': {'node': '#block3', 'overlay': 'qsnap-5'}}]}");
    assert_json_is(json_object_get(plan_step(plan, "transaction", 0), "expect"),
                   "{'is': 'disk', 'device': 'd1', 'node': 'qsnap-5'}");
    assert_json_is(json_object_get(plan_step(plan, "getfd", 0), "fd"),
                   "{'path': '/m/s1-1.mem', 'flags': 'write'}");
    step = plan_step(plan, "migrate", 0);
    assert_int_equal(json_integer_value(json_object_get(step, "timeout")), 0);
    assert_int_equal(json_integer_value(json_object_get(step, "bytes")), 67108864);
    json_decref(plan);
    world_free(world);
}

static void record_after_it_has_the_snapshot_and_the_overlays(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'description': 'first'}");
    const json_t *after = json_object_get(plan, "after"), *snapshot = state_snapshot(after, "s1");

    (void)state;
    assert_string_equal(state_str(after, "current"), "s1");
    assert_int_equal(json_integer_value(json_object_get(after, "counter")), 5);
    assert_json_is(json_object_get(after, "disks"),
                   "{'drive:d0': {'device': 'd0', 'qdev': '/machine/peripheral-anon/device[0]',"
                   "              'active': 'L3', 'base': 'L2'},"
                   " 'drive:d1': {'device': 'd1', 'qdev': '/machine/unattached/device[1]',"
                   "              'active': 'L5', 'base': 'L4'}}");
    assert_json_is(state_layer(after, "L1"),
                   "{'path': '/i/gold.raw', 'real': '/i/gold.raw', 'format': 'raw', 'parent': null,"
                   " 'size': 67108864, 'foreign': true,"
                   " 'print': {'dev': 1, 'ino': 1, 'size': 200000, 'mtime': '1.5'}}");
    assert_json_is(state_layer(after, "L2"),
                   "{'path': '/i/a.qcow2', 'real': '/i/a.qcow2', 'format': 'qcow2', 'parent': 'L1',"
                   " 'size': 67108864, 'base': true}");
    assert_json_is(state_layer(after, "L3"),
                   "{'path': '/i/a.vm-3.qcow2', 'real': '/i/a.vm-3.qcow2', 'format': 'qcow2',"
                   " 'parent': 'L2', 'size': 67108864, 'node': 'qsnap-3'}");
    assert_true(json_is_null(json_object_get(snapshot, "parent")));
    assert_json_is(json_object_get(snapshot, "disks"), "{'drive:d0': 'L2', 'drive:d1': 'L4'}");
    assert_json_is(json_object_get(snapshot, "memory"),
                   "{'format': 'stream', 'file': '/m/s1-1.mem'}");
    assert_string_equal(state_str(snapshot, "run-state"), "running");
    assert_string_equal(state_str(snapshot, "origin"), "created");
    assert_string_equal(state_str(snapshot, "description"), "first");
    assert_json_is(json_object_get(snapshot, "qemu"), "[7, 2]");
    assert_true(json_integer_value(json_object_get(snapshot, "created")) == 1700000000000001LL);
    assert_string_equal(json_string_value(json_array_get(json_object_get(snapshot, "args"), 0)),
                        "qemu");
    assert_int_equal(json_array_size(json_object_get(snapshot, "args")), 7);
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L2': '/i/a.qcow2', 'L4': '/i/b.raw'}}");
    json_decref(plan);
    world_free(world);
}

static void second_snapshot_stands_on_the_first(void **state)
{
    struct planner_world *world = world_make(WORLD_NODES, "running");
    const json_t *after;
    json_t *plan;

    (void)state;
    world_create(world, "s1");
    plan = world_plan(world, planner_create, "{'name': 's2', 'memory': 'none'}");
    after = json_object_get(plan, "after");
    assert_string_equal(state_str(state_snapshot(after, "s2"), "parent"), "s1");
    assert_json_is(json_object_get(state_snapshot(after, "s2"), "disks"),
                   "{'node:q0': 'L3', 'node:r1': 'L5'}");
    assert_string_equal(state_str(state_layer(after, "L6"), "path"), "/i/a.vm-6.qcow2");
    assert_string_equal(state_str(state_layer(after, "L6"), "parent"), "L3");
    assert_string_equal(state_str(state_layer(after, "L2"), "node"), "q0");
    assert_non_null(json_object_get(state_layer(after, "L2"), "print"));
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L3': '/i/a.vm-3.qcow2', 'L5': '/i/b.vm-5.qcow2'}}");
    assert_json_is(json_object_get(plan_step(plan, "transaction", 0), "expect"),
                   "{'is': 'disk', 'qdev': 'sd1', 'node': 'qsnap-7'}");
    json_decref(plan);
    world_free(world);
}

/* Without memory one transaction is one moment for all disks: the guest runs on. */
static void without_memory_the_guest_is_not_stopped(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}");

    (void)state;
    assert_steps(plan, "overlay-create* blockdev-add* overlay-create* blockdev-add* transaction* "
                       "layers-freeze state-write!");
    assert_null(json_object_get(state_snapshot(json_object_get(plan, "after"), "s1"), "memory"));
    json_decref(plan);
    world_status_set(world, "prelaunch");
    plan = world_plan(world, planner_create, "{'name': 's1'}");
    assert_steps(plan, "overlay-create* blockdev-add* overlay-create* blockdev-add* transaction* "
                       "layers-freeze state-write!");
    assert_string_equal(state_str(state_snapshot(json_object_get(plan, "after"), "s1"),
                                  "run-state"), "prelaunch");
    json_decref(plan);
    world_free(world);
}

static void paused_guest_stays_paused(void **state)
{
    static const char steps[] =
        "overlay-create* blockdev-add* overlay-create* blockdev-add* memory-create* "
        "migrate-parameters* getfd* migrate* migrate-end memory-seal transaction* layers-freeze "
        "migrate-parameters-restore state-write!";
    struct planner_world *world = world_make(WORLD_DRIVES, "paused");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1'}");

    (void)state;
    assert_steps(plan, steps);
    assert_json_is(json_object_get(plan_step(plan, "migrate-end", 0), "expect"),
                   "{'is': 'status', 'in': ['postmigrate']}");
    json_decref(plan);
    world->w.version[0] = 10;       /* a background snapshot keeps the guest's own state */
    plan = world_plan(world, planner_create, "{'name': 's1'}");
    assert_json_is(step_arguments(plan_step(plan, "migrate-capabilities", 0)),
                   "{'capabilities': [{'capability': 'background-snapshot', 'state': true}]}");
    assert_json_is(step_arguments(plan_step(plan, "migrate-capabilities-restore", 0)),
                   "{'capabilities': [{'capability': 'background-snapshot', 'state': false}]}");
    assert_json_is(json_object_get(plan_step(plan, "migrate-end", 0), "expect"),
                   "{'is': 'status', 'in': ['paused']}");
    json_decref(plan);
    world_status_set(world, "postmigrate");
    plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}");
    assert_string_equal(state_str(state_snapshot(json_object_get(plan, "after"), "s1"),
                                  "run-state"), "paused");
    json_decref(plan);
    world_free(world);
}

static void settings_of_a_client_are_put_aside_and_back(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    const json_t *step;
    json_t *plan;

    (void)state;
    json_object_set_new(world->w.capabilities, "multifd", json_true());
    plan = world_plan(world, planner_create, "{'name': 's1'}");
    step = plan_step(plan, "migrate-capabilities", 0);
    assert_json_is(step_arguments(step),
                   "{'capabilities': [{'capability': 'multifd', 'state': false}]}");
    assert_json_is(json_object_get(step, "expect"),
                   "{'is': 'capabilities', 'equal': {'multifd': false}}");
    assert_json_is(step_arguments(json_array_get(json_object_get(step, "undo"), 0)),
                   "{'capabilities': [{'capability': 'multifd', 'state': true}]}");
    assert_json_is(step_arguments(plan_step(plan, "migrate-capabilities-restore", 0)),
                   "{'capabilities': [{'capability': 'multifd', 'state': true}]}");
    assert_json_is(step_arguments(plan_step(plan, "migrate-parameters-restore", 0)),
                   "{'max-bandwidth': 134217728}");
    json_decref(plan);
    world_free(world);
}

static void what_was_done_is_taken_back_last_first(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'disks': ['d0']}");

    (void)state;
    assert_undo(plan, "overlay-create", "file-remove");
    assert_undo(plan, "blockdev-add", "blockdev-del file-remove");
    assert_undo(plan, "getfd", "closefd? migrate-parameters-restore file-remove blockdev-del "
                               "file-remove");
    assert_undo(plan, "migrate", "migrate-cancel cont closefd? migrate-parameters-restore "
                                 "file-remove blockdev-del file-remove");
    /* the guest has to run for the merge, and stands still while the disk goes back */
    assert_undo(plan, "transaction", "cont undo-commit stop undo-complete adopt-cancel "
                                     "undo-finalize undo-dismiss undo-check cont migrate-cancel cont closefd? "
                                     "migrate-parameters-restore file-remove blockdev-del "
                                     "file-remove");
    json_decref(plan);
    plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}");
    assert_undo(plan, "transaction", "undo-commit undo-commit stop undo-complete undo-complete "
                                     "adopt-cancel undo-finalize undo-dismiss undo-check "
                                     "undo-finalize undo-dismiss undo-check cont blockdev-del file-remove blockdev-del "
                                     "file-remove");
    json_decref(plan);
    world_free(world);
}

/* Behind the transaction the guest runs again when the migration is cancelled. */
static void cancelled_migration_may_find_the_guest_running(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1'}"), *status;
    const json_t *undo = json_object_get(plan_step(plan, "migrate", 0), "undo");
    size_t i;

    (void)state;
    status = json_object_get(json_object_get(json_array_get(undo, 0), "expect"), "in");
    assert_string_equal(state_str(json_array_get(undo, 0), "step"), "migrate-cancel");
    for (i = 0; i < json_array_size(status); i++)
        if (strcmp(json_string_value(json_array_get(status, i)), "running") == 0)
            break;
    if (status && i == json_array_size(status))
        fail_msg("the undo of 'transaction' ends with 'cont', and this waits for another state");
    json_decref(plan);
    world_free(world);
}

static void disks_are_chosen_by_any_of_their_names(void **state)
{
    struct planner_world *world = world_make(WORLD_NODES, "running");
    static const char *const names[] = {
        "vd0", "q0", "node:q0", "/machine/peripheral/vd0/virtio-backend",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *request = json_pack("{s:s, s:s, s:[s]}", "name", "s1", "memory", "none", "disks",
                                    names[i]);
        char *text = json_dumps(request, 0);
        json_t *plan = world_plan(world, planner_create, text);

        assert_json_is(json_object_get(state_snapshot(json_object_get(plan, "after"), "s1"),
                                       "disks"), "{'node:q0': 'L2'}");
        assert_null(state_disk(json_object_get(plan, "after"), "node:r1"));
        json_decref(plan);
        free(text);
        json_decref(request);
    }
    world_refuse(world, planner_create, "{'name': 's1', 'disks': ['vd0', 'q0']}",
                 REASON_UNKNOWN_DISK);
    world_refuse(world, planner_create, "{'name': 's1', 'disks': ['']}", REASON_UNKNOWN_DISK);
    world_refuse(world, planner_create, "{'name': 's1', 'disks': ['vd9']}", REASON_UNKNOWN_DISK);
    world_free(world);
}

static void memory_alone_takes_a_number_too(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'disks': []}");

    (void)state;
    assert_steps(plan, "memory-create* migrate-parameters* getfd* stop* migrate* migrate-end cont "
                       "memory-seal layers-freeze migrate-parameters-restore state-write!");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(plan, "after"),
                                                        "counter")), 1);
    json_decref(plan);
    world_refuse(world, planner_create, "{'name': 's1', 'disks': [], 'memory': 'none'}",
                 REASON_UNKNOWN_DISK);
    world_free(world);
}

static void save_as_leaves_the_guest_stopped(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_save_as, "{'name': 's0', 'save-as': 's1'}");

    (void)state;
    assert_steps(plan, "overlay-create* blockdev-add* overlay-create* blockdev-add* memory-create* "
                       "migrate-parameters* getfd* stop* migrate* migrate-end memory-seal "
                       "transaction* layers-freeze migrate-parameters-restore state-write!");
    assert_string_equal(state_str(plan, "name"), "s1");
    assert_string_equal(state_str(state_snapshot(json_object_get(plan, "after"), "s1"),
                                  "run-state"), "running");
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_guest_is_saved_with_its_memory),
        cmocka_unit_test(record_after_it_has_the_snapshot_and_the_overlays),
        cmocka_unit_test(second_snapshot_stands_on_the_first),
        cmocka_unit_test(without_memory_the_guest_is_not_stopped),
        cmocka_unit_test(paused_guest_stays_paused),
        cmocka_unit_test(settings_of_a_client_are_put_aside_and_back),
        cmocka_unit_test(what_was_done_is_taken_back_last_first),
        cmocka_unit_test(cancelled_migration_may_find_the_guest_running),
        cmocka_unit_test(disks_are_chosen_by_any_of_their_names),
        cmocka_unit_test(memory_alone_takes_a_number_too),
        cmocka_unit_test(save_as_leaves_the_guest_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
