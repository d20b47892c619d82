/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_delete: which layers go, which are merged, and what stands in the way. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/reason.h"
#include "policy/state.h"

/* The disk leaves the layer that the guest writes to: the record goes first. */
#define ENDED "state-write* job-finalize job-dismiss check-disk "

static void middle_layers_are_committed_into_those_below(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}");
    const json_t *after = json_object_get(plan, "after"), *step;

    (void)state;
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync flush flush "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "check-disks layers-freeze state-write! blockdev-del? blockdev-del? "
                       "files-remove?");
    step = plan_step(plan, "block-commit", 0);
    assert_json_is(step_arguments(step),
                   "{'job-id': 'qsnap-commit-L3', 'device': 'd0', 'base-node': '#block-L2',"
                   " 'top-node': 'qsnap-3', 'backing-file': '/i/a.qcow2', 'auto-dismiss': false,"
                   " 'auto-finalize': false}");
    assert_json_is(json_object_get(step, "expect"),
                   "{'is': 'job', 'id': 'qsnap-commit-L3', 'in': ['pending']}");
    assert_null(json_object_get(step, "stall"));    /* the guest does not write there */
    assert_json_is(step_arguments(plan_step(plan, "flush", 0)),
                   "{'command-line': 'qemu-io #block-L2 reopen'}");
    assert_json_is(json_object_get(plan_step(plan, "header-check", 0), "args"),
                   "{'file': '/i/a.vm-6.qcow2', 'backing': '/i/a.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_json_is(json_object_get(plan_step(plan, "files-sync", 0), "args"),
                   "{'files': ['/i/a.qcow2', '/i/a.vm-3.qcow2', '/i/b.raw', '/i/b.vm-5.qcow2']}");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"),
                   "['/i/a.vm-3.qcow2', '/i/b.vm-5.qcow2', '/m/s1-1.mem']");
    assert_null(state_snapshot(after, "s1"));
    assert_true(json_is_null(json_object_get(state_snapshot(after, "s2"), "parent")));
    assert_json_is(json_object_get(state_snapshot(after, "s2"), "disks"),
                   "{'drive:d0': 'L2', 'drive:d1': 'L4'}");
    assert_string_equal(state_str(state_layer(after, "L6"), "parent"), "L2");
    assert_string_equal(state_str(state_disk(after, "drive:d0"), "active"), "L6");
    assert_string_equal(state_str(after, "current"), "s2");
    json_decref(plan);
    world_free(world);
}

/* That image of the first disk, counted from the top, is open with cache=unsafe. */
static void no_flush(struct planner_world *world, size_t nth)
{
    json_t *link = json_array_get(json_object_get(json_array_get(world->vm, 0), "chain"), nth);

    assert_string_equal(state_str(link, "file"), "/i/a.qcow2");
    json_object_set_new(link, "no-flush", json_true());
    world_graph(world);
}

/* QEMU says that it has flushed, and has not. */
static void what_qemu_does_not_flush_is_synced(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan;

    (void)state;
    no_flush(world, 2);
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync flush file-sync flush "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "check-disks layers-freeze state-write! blockdev-del? blockdev-del? "
                       "files-remove?");
    assert_json_is(json_object_get(plan_step(plan, "file-sync", 0), "args"),
                   "{'file': '/i/a.qcow2'}");
    json_decref(plan);
    world_free(world);
    world = world_with(WORLD_DRIVES, 1);
    no_flush(world, 1);
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync stop* job-complete "
                       "file-sync job-complete " ENDED ENDED "cont check-disks layers-freeze "
                       "state-write! blockdev-del? blockdev-del? files-remove?");
    json_decref(plan);
    world_free(world);
}

static void active_layer_is_committed_into_the_one_below(void **state)
{
    struct planner_world *world = world_with(WORLD_NODES, 1);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}");
    const json_t *after = json_object_get(plan, "after");

    (void)state;
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync stop* job-complete "
                       "job-complete " ENDED ENDED "cont check-disks layers-freeze state-write! "
                       "blockdev-del? blockdev-del? files-remove?");
    assert_json_is(step_arguments(plan_step(plan, "block-commit", 1)),
                   "{'job-id': 'qsnap-commit-L5', 'device': 'qsnap-5', 'base-node': 'r1',"
                   " 'auto-dismiss': false, 'auto-finalize': false}");
    assert_json_is(json_object_get(plan_step(plan, "block-commit", 1), "expect"),
                   "{'is': 'job', 'id': 'qsnap-commit-L5', 'in': ['ready']}");
    assert_json_is(json_object_get(plan_step(plan, "check-disk", 1), "expect"),
                   "{'is': 'chain', 'disks': [{'qdev': 'sd1', 'chain': [{'file': '/i/b.raw',"
                   " 'driver': 'raw', 'node': 'r1'}]}]}");
    assert_json_is(json_object_get(plan_step(plan, "block-commit", 1), "stall"),
                   "{'after': 2000, 'command': {'execute': 'stop'}, 'undo': [{'step': 'cont',"
                   " 'on': 'qemu', 'command': {'execute': 'cont'}, 'expect': {'is': 'status',"
                   " 'in': ['running', 'io-error', 'guest-panicked', 'internal-error',"
                   " 'shutdown']}, 'timeout': 30000}]}");
    assert_string_equal(state_str(state_disk(after, "node:q0"), "active"), "L2");
    assert_true(json_is_null(json_object_get(after, "current")));
    assert_int_equal(json_object_size(json_object_get(after, "layers")), 3);
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"), "{'layers': {}}");
    json_decref(plan);
    world_free(world);
}

/* Each disk is done with for itself. */
static void records_on_the_way_say_which_disks_are_done(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}");
    static const char *const left[] = { "{'drive:d1': 'L4'}", "{}" };
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const json_t *now = json_object_get(json_object_get(plan_step(plan, "state-write", i),
                                                            "args"), "state");

        if (!state_check(now, &err))
            fail_msg("%s", err.desc);
        assert_true(json_is_true(json_object_get(state_snapshot(now, "s1"), "deleting")));
        assert_json_is(json_object_get(state_snapshot(now, "s1"), "disks"), left[i]);
        assert_null(state_layer(now, "L3"));
        assert_int_equal(state_layer(now, "L5") != NULL, i == 0);
    }
    json_decref(plan);
    world_free(world);
}

static void cancelled_merges_leave_the_mark_to_what_has_moved(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}");

    (void)state;
    assert_undo(plan, "snapshot-mark", "snapshot-unmark");
    assert_undo(plan, "block-commit", "cancel-commit job-dismiss? snapshot-unmark");
    assert_undo(plan, "stop", "cont cancel-commit job-dismiss? cancel-commit job-dismiss? "
                              "snapshot-unmark");
    assert_true(json_is_true(json_object_get(plan_step(plan, "block-commit", 0), "moves")));
    json_decref(plan);
    world_free(world);
}

static void paused_guest_is_not_continued(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *plan;

    (void)state;
    world_status_set(world, "paused");
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync job-complete job-complete "
                       ENDED ENDED "check-disks layers-freeze state-write! blockdev-del? "
                       "blockdev-del? files-remove?");
    assert_null(json_object_get(plan_step(plan, "block-commit", 0), "stall"));
    json_decref(plan);
    world_status_set(world, "postmigrate");     /* QEMU has let go of the images */
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_WRONG_STATE);
    world_free(world);
}

/* s1 has the children s2 and, on the running chain, s3. */
static struct planner_world *world_with_branch(void)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);

    world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    world_create(world, "s3");
    return world;
}

static void branch_point_is_kept_without_its_name(void **state)
{
    struct planner_world *world = world_with_branch();
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}");
    const json_t *after = json_object_get(plan, "after");

    (void)state;
    assert_steps(plan, "state-write! files-remove?");
    assert_non_null(state_layer(after, "L2"));
    assert_true(json_is_null(json_object_get(state_snapshot(after, "s2"), "parent")));
    assert_true(json_is_null(json_object_get(state_snapshot(after, "s3"), "parent")));
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"), "['/m/s1-1.mem']");
    world_carry_out(world, plan);
    json_decref(plan);
    /* when one branch goes, the other is merged into it */
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, "snapshot-mark* block-commit* block-commit* files-sync flush flush "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "job-finalize job-dismiss header-check check-disk state-write "
                       "check-disks layers-freeze state-write! blockdev-del? blockdev-del? "
                       "files-remove?");
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L2': '/i/a.qcow2', 'L4': '/i/b.raw'}}");
    assert_json_is(json_object_get(state_snapshot(json_object_get(plan, "after"), "s3"), "disks"),
                   "{'drive:d0': 'L2', 'drive:d1': 'L4'}");
    json_decref(plan);
    world_free(world);
}

static void leaf_of_another_branch_is_only_unlinked(void **state)
{
    struct planner_world *world = world_with_branch();
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2'}");

    (void)state;
    assert_steps(plan, "state-write! files-remove?");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"),
                   "['/i/a.vm-3.qcow2', '/i/b.vm-5.qcow2', '/m/s2-6.mem']");
    json_decref(plan);
    world_free(world);
}

static void everything_deleted_leaves_the_images_of_the_command_line(void **state)
{
    static const char *const orders[][3] = {
        { "s1", "s2", "s3" }, { "s1", "s3", "s2" }, { "s2", "s1", "s3" },
        { "s2", "s3", "s1" }, { "s3", "s1", "s2" }, { "s3", "s2", "s1" },
    };

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct planner_world *world = world_with(WORLD_DRIVES, 3);

        for (size_t k = 0; k < 3; k++) {
            char request[64];

            snprintf(request, sizeof(request), "{'name': '%s'}", orders[i][k]);
            world_do(world, planner_delete, request);
        }
        assert_json_is(json_object_get(world->state, "snapshots"), "[]");
        assert_int_equal(json_object_size(json_object_get(world->state, "layers")), 3);
        assert_string_equal(state_str(state_disk(world->state, "drive:d0"), "active"), "L2");
        assert_string_equal(state_str(state_disk(world->state, "drive:d1"), "active"), "L4");
        world_free(world);
    }
}

static void metadata_only_leaves_the_layers(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan;

    (void)state;
    world_file_remove(world, "/i/a.qcow2");     /* it works on a VM that is in disorder */
    plan = world_plan(world, planner_delete, "{'name': 's1', 'metadata-only': true}");
    assert_steps(plan, "state-write! files-remove?");
    assert_json(json_object_get(json_object_get(plan, "after"), "layers"),
                json_object_get(world->state, "layers"));
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"), "['/m/s1-1.mem']");
    json_decref(plan);
    world_free(world);
}

static void snapshot_that_is_marked_is_deleted_again(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *snapshot = state_snapshot(world->state, "s1");

    (void)state;
    json_object_set_new(snapshot, "deleting", json_true());
    json_object_del(json_object_get(snapshot, "disks"), "drive:d1");
    world_do(world, planner_delete, "{'name': 's1'}");
    assert_null(state_snapshot(world->state, "s1"));
    assert_null(state_layer(world->state, "L3"));
    world_free(world);
}

static void refusals_have_their_reasons(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *file;

    (void)state;
    world_refuse(world, planner_delete, "{'name': 's9'}", REASON_UNKNOWN_SNAPSHOT);
    world_refuse(world, planner_delete, "{'name': 's9', 'metadata-only': true}",
                 REASON_UNKNOWN_SNAPSHOT);
    world_refuse(world, planner_delete, "{'name': 's1', 'children': 'include'}",
                 REASON_CURRENT_BRANCH);
    world_refuse(world, planner_delete, "{'name': 's1', 'direction': 'stream'}",
                 REASON_DIRECTION_UNAVAILABLE);
    json_decref(world_plan(world, planner_delete, "{'name': 's1', 'direction': 'commit',"
                                                  " 'children': 'keep'}"));
    json_array_append_new(world->w.jobs, json_text("{'id': 'b0', 'type': 'backup'}"));
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_JOB_RUNNING);
    json_array_clear(world->w.jobs);
    world_room(world, "/i", 1000, true);
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_NO_SPACE);
    world_room(world, "/i", 1LL << 40, true);
    file = json_object_get(world->w.files, "/i/a.qcow2");
    json_object_set_new(file, "bitmaps", json_true());
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_UNSUPPORTED_DISK);
    json_object_del(file, "bitmaps");
    file = json_deep_copy(file);
    json_object_set_new(file, "mtime", json_string("9.9"));
    json_object_set_new(world->w.files, "/i/a.qcow2", file);
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_IMAGE_CHANGED);
    json_array_remove(world->vm, 1);
    world_graph(world);
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_IMAGE_CHANGED);
    world_free(world);
}

/* A bitmap in the layer that is merged away would go with it. */
static void bitmap_of_the_layer_that_goes_is_not_lost_in_silence(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *file = json_object_get(world->w.files, "/i/a.vm-3.qcow2");

    (void)state;
    json_object_set_new(file, "bitmaps", json_true());
    world_refuse(world, planner_delete, "{'name': 's1'}", REASON_UNSUPPORTED_DISK);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(middle_layers_are_committed_into_those_below),
        cmocka_unit_test(what_qemu_does_not_flush_is_synced),
        cmocka_unit_test(active_layer_is_committed_into_the_one_below),
        cmocka_unit_test(records_on_the_way_say_which_disks_are_done),
        cmocka_unit_test(cancelled_merges_leave_the_mark_to_what_has_moved),
        cmocka_unit_test(paused_guest_is_not_continued),
        cmocka_unit_test(branch_point_is_kept_without_its_name),
        cmocka_unit_test(leaf_of_another_branch_is_only_unlinked),
        cmocka_unit_test(everything_deleted_leaves_the_images_of_the_command_line),
        cmocka_unit_test(metadata_only_leaves_the_layers),
        cmocka_unit_test(snapshot_that_is_marked_is_deleted_again),
        cmocka_unit_test(refusals_have_their_reasons),
        cmocka_unit_test(bitmap_of_the_layer_that_goes_is_not_lost_in_silence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
