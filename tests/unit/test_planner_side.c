/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_delete: merges of layers that the guest does not run on. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/reason.h"
#include "policy/state.h"

/* Marked before, written down behind. */
#define MARK "snapshot-mark* "
#define DONE "check-disks layers-freeze state-write! "
#define OPEN2 "blockdev-add* blockdev-add* "
#define CLOSE2 "blockdev-del blockdev-del "
#define STREAM "block-stream* files-sync flush job-finalize "
#define COMMIT "block-commit* files-sync job-complete job-finalize job-dismiss "

/* A VM of the first disk only, s1 - s2 - ... - sN without memory, and back on s1: s1 names L2, s2 L3
 * and so on, and the guest runs on a layer that stands on L2. */
static struct planner_world *world_back(enum planner_world_kind kind, int n)
{
    struct planner_world *world = world_make(kind, "running");

    json_array_remove(world->vm, 1);
    world_graph(world);
    world_args(world, kind == WORLD_DRIVES
                          ? "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2"
                          : "-blockdev driver=file,filename=/i/a.qcow2,node-name=f0 "
                            "-blockdev driver=qcow2,file=f0,node-name=q0 "
                            "-device virtio-blk-pci,drive=q0,id=vd0");
    for (int i = 1; i <= n; i++) {
        char request[128];

        snprintf(request, sizeof(request), "{'name': 's%d', 'memory': 'none'}", i);
        world_do(world, planner_create, request);
    }
    world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    return world;
}

static const json_t *arguments(const json_t *plan, const char *name, size_t nth)
{
    return step_arguments(plan_step(plan, name, nth));
}

static const json_t *after_layer(const json_t *plan, const char *id)
{
    return state_layer(json_object_get(plan, "after"), id);
}

static const char *layer_of(const json_t *plan, const char *snapshot)
{
    return state_str(json_object_get(state_snapshot(json_object_get(plan, "after"), snapshot),
                                     "disks"), "drive:d0");
}

/* The child is opened for writing, the parent is not, and the floor is what the guest has open. */
static void middle_layer_is_streamed_into_the_one_above(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 4);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2'}");

    (void)state;
    assert_steps(plan, MARK OPEN2 STREAM CLOSE2 "header-check state-write " DONE "files-remove?");
    assert_json_is(arguments(plan, "blockdev-add", 0),
                   "{'node-name': 'qsnap-side-L3', 'driver': 'qcow2', 'read-only': true,"
                   " 'backing': '#block-L2',"
                   " 'file': {'driver': 'file', 'filename': '/i/a.vm-3.qcow2'}}");
    assert_json_is(arguments(plan, "blockdev-add", 1),
                   "{'node-name': 'qsnap-side-L4', 'driver': 'qcow2', 'read-only': false,"
                   " 'backing': 'qsnap-side-L3',"
                   " 'file': {'driver': 'file', 'filename': '/i/a.vm-4.qcow2'}}");
    assert_json_is(arguments(plan, "block-stream", 0),
                   "{'job-id': 'qsnap-stream-L4', 'device': 'qsnap-side-L4',"
                   " 'base-node': '#block-L2', 'backing-file': '/i/a.qcow2',"
                   " 'auto-finalize': false}");
    assert_json_is(arguments(plan, "flush", 0), "{'command-line': 'qemu-io qsnap-side-L4 reopen'}");
    assert_json_is(arguments(plan, "blockdev-del", 0), "{'node-name': 'qsnap-side-L4'}");
    assert_json_is(arguments(plan, "blockdev-del", 1), "{'node-name': 'qsnap-side-L3'}");
    assert_json_is(json_object_get(plan_step(plan, "header-check", 0), "args"),
                   "{'file': '/i/a.vm-4.qcow2', 'backing': '/i/a.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L4': '/i/a.vm-4.qcow2'}}");
    assert_null(after_layer(plan, "L3"));
    assert_undo(plan, "block-stream", "cancel-commit blockdev-del blockdev-del snapshot-unmark");
    assert_json_is(step_arguments(json_array_get(json_object_get(plan_step(plan, "blockdev-add", 1),
                                                                 "undo"), 0)),
                   "{'node-name': 'qsnap-side-L4'}");
    json_decref(plan);
    world_free(world);
}

/* A record on the way has no layer that is gone, and no snapshot that would need one. */
static void record_on_the_way_lets_go_of_what_is_gone(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 4);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2'}");
    const json_t *now = json_object_get(json_object_get(plan_step(plan, "state-write", 0), "args"),
                                        "state");

    (void)state;
    assert_null(state_layer(now, "L3"));
    assert_json_is(json_object_get(state_snapshot(now, "s2"), "disks"), "{}");
    assert_true(json_is_true(json_object_get(state_snapshot(now, "s2"), "deleting")));
    assert_json_is(json_object_get(state_snapshot(now, "s3"), "disks"), "{'drive:d0': 'L4'}");
    json_decref(plan);
    world_free(world);
}

static void leaf_goes_down_where_that_moves_less(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 3);
    json_t *plan;

    (void)state;
    world_allocated(world, "L3", 900000);
    world_allocated(world, "L4", 300000);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, MARK OPEN2 COMMIT CLOSE2 "state-write " DONE "files-remove?");
    assert_json_is(arguments(plan, "block-commit", 0),
                   "{'job-id': 'qsnap-commit-L4', 'device': 'qsnap-side-L4',"
                   " 'base-node': 'qsnap-side-L3', 'auto-dismiss': false,"
                   " 'auto-finalize': false}");
    assert_int_equal(json_integer_value(json_object_get(plan_step(plan, "block-commit", 0),
                                                        "bytes")), 300000);
    assert_string_equal(layer_of(plan, "s3"), "L3");
    assert_null(after_layer(plan, "L4"));
    json_decref(plan);
    world_allocated(world, "L4", 900001);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, MARK OPEN2 STREAM CLOSE2 "header-check state-write " DONE "files-remove?");
    assert_int_equal(json_integer_value(json_object_get(plan_step(plan, "block-stream", 0),
                                                        "bytes")), 900000);
    assert_string_equal(layer_of(plan, "s3"), "L4");
    json_decref(plan);
    world_free(world);
}

/* The guest has nothing open below: three layers are, from the bottom up. */
static void longer_branch_is_opened_down_to_the_floor(void **state)
{
    struct planner_world *world = world_back(WORLD_NODES, 4);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's3', 'direction': 'stream'}");

    (void)state;
    assert_steps(plan, MARK OPEN2 "blockdev-add* " STREAM CLOSE2
                       "blockdev-del header-check state-write " DONE "files-remove?");
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 0), "backing"), "q0");
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 1), "backing"), "qsnap-side-L3");
    assert_true(json_is_true(json_object_get(arguments(plan, "blockdev-add", 1), "read-only")));
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 2), "backing"), "qsnap-side-L4");
    assert_string_equal(state_str(arguments(plan, "block-stream", 0), "base-node"),
                        "qsnap-side-L3");
    assert_string_equal(state_str(arguments(plan, "blockdev-del", 2), "node-name"),
                        "qsnap-side-L3");
    assert_string_equal(state_str(after_layer(plan, "L5"), "parent"), "L3");
    json_decref(plan);
    world_free(world);
}

/* Layers that somebody else made stand on the shared image itself. */
static void foreign_layer_may_be_the_floor(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 3);
    json_t *plan;

    (void)state;
    json_object_set_new(state_layer(world->state, "L3"), "parent", json_string("L1"));
    json_object_set_new(json_object_get(world->w.files, "/i/a.vm-3.qcow2"), "backing",
                        json_string("/i/gold.raw"));
    json_object_set_new(json_object_get(world->w.files, "/i/a.vm-3.qcow2"), "backing-format",
                        json_string("raw"));
    plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 0), "backing"), "#block-L1");
    assert_string_equal(state_str(arguments(plan, "block-stream", 0), "base-node"), "#block-L1");
    assert_string_equal(state_str(arguments(plan, "block-stream", 0), "backing-file"),
                        "/i/gold.raw");
    assert_json_is(json_object_get(plan_step(plan, "header-check", 0), "args"),
                   "{'file': '/i/a.vm-4.qcow2', 'backing': '/i/gold.raw',"
                   " 'backing-format': 'raw'}");
    json_decref(plan);
    world_free(world);
}

/* A branch has a shared image of its own: that is opened, and left alone. */
static void foreign_layer_of_a_branch_is_only_read(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 3);
    json_t *file = json_object_get(world->w.files, "/i/a.vm-3.qcow2"), *plan;

    (void)state;
    json_object_set_new(json_object_get(world->state, "layers"), "L0",
                        json_text("{'path': '/i/silver.qcow2', 'real': '/i/silver.qcow2',"
                                  " 'format': 'qcow2', 'parent': 'L1', 'size': 67108864,"
                                  " 'foreign': true}"));
    world_file_add(world, "/i/silver.qcow2", "qcow2", "/i/gold.raw", "raw");
    json_object_set_new(state_layer(world->state, "L3"), "parent", json_string("L0"));
    json_object_set_new(file, "backing", json_string("/i/silver.qcow2"));
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, MARK OPEN2 "blockdev-add* " COMMIT CLOSE2 "blockdev-del state-write " DONE
                       "files-remove?");
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 0), "node-name"),
                        "qsnap-side-L0");
    assert_true(json_is_true(json_object_get(arguments(plan, "blockdev-add", 0), "read-only")));
    assert_string_equal(state_str(after_layer(plan, "L3"), "parent"), "L0");
    json_decref(plan);
    world_free(world);
}

/* s5 is merged below the guest first; what s3 had left behind follows. */
static void branch_stands_on_the_right_node_behind_a_merge_below_the_guest(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 4);
    json_t *plan;

    (void)state;
    world_create(world, "s5");
    world_do(world, planner_delete, "{'name': 's3', 'metadata-only': true}");
    plan = world_plan(world, planner_delete, "{'name': 's5'}");
    assert_steps(plan, MARK "block-commit* files-sync stop* job-complete state-write* job-finalize "
                       "job-dismiss check-disk cont blockdev-add* " OPEN2 COMMIT "blockdev-del " CLOSE2
                       "state-write " DONE "blockdev-del? files-remove?");
    assert_string_equal(state_str(arguments(plan, "blockdev-add", 0), "backing"), "#block-L2");
    json_decref(plan);
    world_free(world);
}

/* Down into s2's layer goes s3's; s4, which stands on it, only gets another header. */
static void layers_on_a_committed_one_get_new_headers(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 4);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    const json_t *now = json_object_get(json_object_get(plan_step(plan, "state-write", 0), "args"),
                                        "state"), *step;

    (void)state;
    assert_steps(plan, MARK OPEN2 COMMIT CLOSE2 "state-write header-rewrite header-check "
                       "state-write " DONE "files-remove?");
    assert_true(json_is_true(json_object_get(state_layer(now, "L4"), "copied")));
    assert_string_equal(state_str(state_layer(now, "L5"), "parent"), "L4");
    step = plan_step(plan, "header-rewrite", 0);
    assert_json_is(json_object_get(step, "args"),
                   "{'file': '/i/a.vm-5.qcow2', 'backing': '/i/a.vm-3.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_int_equal(json_integer_value(json_object_get(step, "bytes")), 0);
    assert_string_equal(layer_of(plan, "s3"), "L3");
    assert_string_equal(state_str(after_layer(plan, "L5"), "parent"), "L3");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-4.qcow2']");
    json_decref(plan);
    world_free(world);
}

/* QEMU does not watch over a side branch: its headers, files and fingerprints are looked at. */
static void branch_that_is_not_as_recorded_is_refused(void **state)
{
    static const struct {
        const char *file, *change, *reason;
    } rows[] = {
        { "/i/a.vm-3.qcow2", "{'backing': '/i/x.raw'}", REASON_CHAIN_MISMATCH },
        { "/i/a.vm-4.qcow2", "{'backing-format': 'raw'}", REASON_CHAIN_MISMATCH },
        { "/i/a.vm-4.qcow2", "{'mtime': '9.9'}", REASON_IMAGE_CHANGED },
        { "/i/a.vm-3.qcow2", "{'ino': 99}", REASON_IMAGE_CHANGED },
        { "/i/a.vm-3.qcow2", "{'exists': false}", REASON_IMAGE_CHANGED },
        { "/i/a.vm-4.qcow2", "{'bad': 'it is damaged'}", REASON_BAD_IMAGE },
        { "/i/a.vm-3.qcow2", "{'bitmaps': true}", REASON_UNSUPPORTED_DISK },
        { "/i/a.vm-4.qcow2", "{'bitmaps': true}", REASON_UNSUPPORTED_DISK },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = world_back(WORLD_DRIVES, 3);
        json_t *file = json_deep_copy(json_object_get(world->w.files, rows[i].file));
        json_t *change = json_text(rows[i].change);

        json_object_update(file, change);
        json_object_set_new(world->w.files, rows[i].file, file);
        world_refuse(world, planner_delete, "{'name': 's2'}", rows[i].reason);
        json_decref(world_plan(world, planner_delete, "{'name': 's3'}")); /* a leaf: only unlinked */
        json_decref(change);
        world_free(world);
    }
}

/* The image of the command line was made by somebody else: how its header names the one below is not
 * ours to judge. */
static void named_image_says_in_its_own_words_what_is_below(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 3);
    json_t *file = json_object_get(world->w.files, "/i/a.qcow2");

    (void)state;
    json_object_set_new(file, "backing", json_string("./gold.raw"));
    json_object_del(file, "backing-format");
    json_decref(world_plan(world, planner_delete, "{'name': 's2'}"));
    world_free(world);
}

static void branch_that_stands_on_nothing_of_the_guest_waits(void **state)
{
    struct planner_world *world = world_back(WORLD_DRIVES, 3);
    json_t *plan;

    (void)state;
    json_object_set_new(state_layer(world->state, "L3"), "parent", json_null());
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_non_null(state_layer(json_object_get(plan, "after"), "L3"));
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(middle_layer_is_streamed_into_the_one_above),
        cmocka_unit_test(record_on_the_way_lets_go_of_what_is_gone),
        cmocka_unit_test(leaf_goes_down_where_that_moves_less),
        cmocka_unit_test(longer_branch_is_opened_down_to_the_floor),
        cmocka_unit_test(foreign_layer_may_be_the_floor),
        cmocka_unit_test(foreign_layer_of_a_branch_is_only_read),
        cmocka_unit_test(branch_stands_on_the_right_node_behind_a_merge_below_the_guest),
        cmocka_unit_test(layers_on_a_committed_one_get_new_headers),
        cmocka_unit_test(branch_that_is_not_as_recorded_is_refused),
        cmocka_unit_test(named_image_says_in_its_own_words_what_is_below),
        cmocka_unit_test(branch_that_stands_on_nothing_of_the_guest_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
