/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_delete: which way merges of running chains go, and what they leave. */
#include "tests/unit/planner_world.h"

#include "policy/reason.h"
#include "policy/state.h"

#define DONE "check-disks layers-freeze state-write! blockdev-del? "
#define ACTIVE "files-sync stop* job-complete state-write* job-finalize job-dismiss check-disk cont "
#define MIDDLE "files-sync flush job-finalize job-dismiss header-check check-disk state-write "
#define STREAM "files-sync flush job-finalize header-check check-disk state-write "

static const json_t *arguments(const json_t *plan, const char *name, size_t nth)
{
    return step_arguments(plan_step(plan, name, nth));
}

static json_int_t moved(const json_t *plan, const char *step)
{
    return json_integer_value(json_object_get(plan_step(plan, step, 0), "bytes"));
}

static void do_on(struct planner_world *world, const char *name)
{
    json_t *request = json_pack("{s:s, s:s}", "name", name, "memory", "none");
    char *text = json_dumps(request, 0);

    world_do(world, planner_create, text);
    free(text);
    json_decref(request);
}

/* The first disk only, s1 - ... - sN without memory: s1 names L2, s2 L3, s3 L4 and so on. */
static struct planner_world *world_one(int n)
{
    static const char *const names[] = { "s1", "s2", "s3", "s4" };
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    json_array_remove(world->vm, 1);
    world_graph(world);
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2");
    for (int i = 0; i < n; i++)
        do_on(world, names[i]);
    return world;
}

static void what_moves_less_is_moved_in_the_middle(void **state)
{
    struct planner_world *world = world_one(3);
    json_t *plan;

    (void)state;
    world_allocated(world, "L3", 500000);       /* s2's layer, and s3's on it */
    world_allocated(world, "L4", 700000);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, "snapshot-mark* block-stream* " STREAM DONE "files-remove?");
    assert_json_is(arguments(plan, "block-stream", 0),
                   "{'job-id': 'qsnap-stream-L4', 'device': 'qsnap-4', 'base-node': '#block-L2',"
                   " 'backing-file': '/i/a.qcow2', 'auto-finalize': false}");
    assert_json_is(arguments(plan, "flush", 0), "{'command-line': 'qemu-io qsnap-4 reopen'}");
    assert_json_is(arguments(plan, "blockdev-del", 0), "{'node-name': 'qsnap-3'}");
    assert_int_equal(moved(plan, "block-stream"), 500000);
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L4': '/i/a.vm-4.qcow2'}}");
    json_decref(plan);
    world_allocated(world, "L3", 700001);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, "snapshot-mark* block-commit* " MIDDLE DONE "files-remove?");
    assert_string_equal(state_str(arguments(plan, "block-commit", 0), "top-node"), "qsnap-4");
    assert_int_equal(moved(plan, "block-commit"), 700000);
    assert_json_is(arguments(plan, "blockdev-del", 0), "{'node-name': 'qsnap-4'}");
    assert_json_is(json_object_get(plan_step(plan, "header-check", 0), "args"),
                   "{'file': '/i/a.vm-5.qcow2', 'backing': '/i/a.vm-3.qcow2',"
                   " 'backing-format': 'qcow2'}");
    json_decref(plan);
    world_free(world);
}

/* Streaming into the active layer ends while the guest runs: it does not leave its file. */
static void guest_goes_on_while_its_layer_takes_the_one_below(void **state)
{
    struct planner_world *world = world_one(2);
    json_t *plan;

    (void)state;
    world_allocated(world, "L3", 500000);
    world_allocated(world, "L4", 700000);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, "snapshot-mark* block-stream* " STREAM DONE "files-remove?");
    assert_null(json_object_get(plan_step(plan, "block-stream", 0), "stall"));
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"), "{'layers': {}}");
    assert_string_equal(state_str(state_disk(json_object_get(plan, "after"), "drive:d0"),
                                  "active"), "L4");
    json_decref(plan);
    world_allocated(world, "L4", 400000);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    assert_steps(plan, "snapshot-mark* block-commit* " ACTIVE DONE "files-remove?");
    assert_non_null(json_object_get(plan_step(plan, "block-commit", 0), "stall"));
    json_decref(plan);
    world_free(world);
}

static void direction_is_as_asked_for(void **state)
{
    struct planner_world *world = world_one(3);
    json_t *plan;

    (void)state;
    world_allocated(world, "L3", 500000);
    world_allocated(world, "L4", 700000);
    plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    assert_int_equal(moved(plan, "block-commit"), 700000);
    json_decref(plan);
    world_allocated(world, "L3", 900000);
    plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    assert_int_equal(moved(plan, "block-stream"), 900000);
    json_decref(plan);
    plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'auto'}");
    assert_int_equal(moved(plan, "block-commit"), 700000);
    json_decref(plan);
    world_free(world);
}

/* The direction is that of the delete's own layers: what another one left goes as is cheapest. */
static void direction_is_not_for_what_others_left(void **state)
{
    struct planner_world *world = world_one(4);
    json_t *plan;

    (void)state;
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    world_allocated(world, "L3", 100000);
    world_allocated(world, "L4", 200000);
    world_allocated(world, "L5", 300000);
    plan = world_plan(world, planner_delete, "{'name': 's4', 'direction': 'commit'}");
    assert_string_equal(state_str(arguments(plan, "block-stream", 0), "device"), "qsnap-4");
    assert_string_equal(state_str(arguments(plan, "block-commit", 0), "base-node"), "qsnap-5");
    json_decref(plan);
    world_free(world);
}

/* Merges of one chain follow each other: what is between has moved already. */
static void sizes_grow_with_each_merge(void **state)
{
    struct planner_world *world = world_one(4);
    json_t *plan;

    (void)state;
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    world_allocated(world, "L3", 100000);
    world_allocated(world, "L4", 200000);
    world_allocated(world, "L5", 250000);
    plan = world_plan(world, planner_delete, "{'name': 's3'}");
    /* L3 goes up into L4, which is 300000 then, so that L5 comes down into that */
    assert_int_equal(moved(plan, "block-stream"), 100000);
    assert_int_equal(moved(plan, "block-commit"), 250000);
    assert_string_equal(state_str(arguments(plan, "block-commit", 0), "base-node"), "qsnap-4");
    json_decref(plan);
    world_free(world);
}

/* s2 was made of a smaller disk: only when the guest's layer has gone down into its layer, and made it
 * larger, can that go down further; the disk then stands on that one. */
static void active_layer_goes_down_twice(void **state)
{
    struct planner_world *world = world_with(WORLD_NODES, 1);
    json_t *link = json_array_get(json_object_get(json_array_get(world->vm, 0), "chain"), 0), *plan;

    (void)state;
    json_object_set_new(link, "virtual-size", json_integer(1 << 20));
    world_graph(world);
    world_create(world, "s2");      /* which leaves the disk with its old size */
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    assert_json_is(arguments(plan, "block-commit", 0),
                   "{'job-id': 'qsnap-commit-L6', 'device': 'qsnap-6', 'base-node': 'qsnap-3',"
                   " 'auto-dismiss': false, 'auto-finalize': false}");
    assert_json_is(arguments(plan, "block-commit", 2),
                   "{'job-id': 'qsnap-commit-L3', 'device': 'qsnap-3', 'base-node': 'q0',"
                   " 'auto-dismiss': false, 'auto-finalize': false}");
    json_decref(plan);
    world_free(world);
}

/* s2's layer is committed into the image of the command line while s3's, on a side branch, stands on
 * it: s3's gets another header, and nothing is left of s2's. */
static void side_branch_moves_to_the_image_of_the_command_line(void **state)
{
    struct planner_world *world = world_one(3);
    const json_t *after, *now;
    json_t *plan;

    (void)state;
    world_do(world, planner_revert, "{'name': 's2', 'discard': true}");
    do_on(world, "s4");
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    after = json_object_get(plan, "after");
    assert_steps(plan, "snapshot-mark* block-commit* " MIDDLE "header-rewrite header-check "
                       "state-write " DONE "files-remove?");
    now = json_object_get(json_object_get(plan_step(plan, "state-write", 0), "args"), "state");
    assert_true(json_is_true(json_object_get(state_layer(now, "L3"), "copied")));
    assert_json_is(json_object_get(plan_step(plan, "header-rewrite", 0), "args"),
                   "{'file': '/i/a.vm-4.qcow2', 'backing': '/i/a.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_json_is(json_object_get(plan_step(plan, "header-check", 1), "args"),
                   "{'file': '/i/a.vm-4.qcow2', 'backing': '/i/a.qcow2',"
                   " 'backing-format': 'qcow2'}");
    assert_true(json_is_true(json_object_get(plan_step(plan, "header-rewrite", 0), "no-return")));
    assert_json_is(json_object_get(state_snapshot(after, "s2"), "disks"), "{'drive:d0': 'L2'}");
    assert_string_equal(state_str(state_layer(after, "L4"), "parent"), "L2");
    assert_null(state_layer(after, "L3"));
    assert_json_is(json_object_get(plan_step(plan, "layers-freeze", 0), "args"),
                   "{'layers': {'L2': '/i/a.qcow2', 'L4': '/i/a.vm-4.qcow2',"
                   " 'L6': '/i/a.vm-6.qcow2'}}");
    json_decref(plan);
    world_free(world);
}

/* However far a merge gets: what is written to has no fingerprint, everything else keeps it. */
static void marks_take_the_fingerprints_of_what_is_written_to(void **state)
{
    struct planner_world *world = world_one(4);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    const json_t *step = plan_step(plan, "snapshot-mark", 0), *now, *before;
    static const char *const kept[] = { "L1", "L2", "L4" }, *const dropped[] = { "L3", "L5" };

    (void)state;
    now = json_object_get(json_object_get(step, "args"), "state");
    before = json_object_get(json_object_get(json_array_get(json_object_get(step, "undo"), 0),
                                             "args"), "state");
    for (size_t i = 0; i < 3; i++)
        assert_non_null(json_object_get(state_layer(now, kept[i]), "print"));
    for (size_t i = 0; i < 2; i++) {
        assert_null(json_object_get(state_layer(now, dropped[i]), "print"));
        assert_non_null(json_object_get(state_layer(before, dropped[i]), "print"));
    }
    assert_true(json_is_true(json_object_get(state_snapshot(now, "s2"), "deleting")));
    assert_null(json_object_get(state_snapshot(now, "s3"), "deleting"));
    assert_json(before, world->state);
    json_decref(plan);
    plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    now = json_object_get(json_object_get(plan_step(plan, "snapshot-mark", 0), "args"), "state");
    assert_null(json_object_get(state_layer(now, "L4"), "print"));
    assert_non_null(json_object_get(state_layer(now, "L3"), "print"));
    assert_non_null(json_object_get(state_layer(now, "L5"), "print"));
    json_decref(plan);
    world_free(world);
}

/* s2 has the children s3 and s4, and the guest is back on s1. */
static struct planner_world *world_family(void)
{
    struct planner_world *world = world_one(3);

    world_do(world, planner_revert, "{'name': 's2', 'discard': true}");
    do_on(world, "s4");
    world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    return world;
}

static void children_alone_are_deleted_without_a_merge(void **state)
{
    struct planner_world *world = world_family();
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'children': 'only'}");

    (void)state;
    assert_steps(plan, "state-write! files-remove?");
    assert_json_is(json_object_get(plan, "deleted"), "['s4', 's3']");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-4.qcow2', '/i/a.vm-6.qcow2']");
    json_decref(plan);
    world_free(world);
}

/* Without s2's branch the image of the command line has one layer on it, the guest's. */
static void parent_of_a_deleted_family_is_merged_with_who_is_left(void **state)
{
    struct planner_world *world = world_family();
    json_t *plan;

    (void)state;
    do_on(world, "s5");
    world_do(world, planner_delete, "{'name': 's1'}");
    plan = world_plan(world, planner_delete, "{'name': 's2', 'children': 'include'}");
    assert_steps(plan, "snapshot-mark* block-commit* " MIDDLE DONE "files-remove?");
    assert_json_is(json_object_get(plan, "deleted"), "['s4', 's3', 's2']");
    assert_json_is(json_object_get(state_snapshot(json_object_get(plan, "after"), "s5"), "disks"),
                   "{'drive:d0': 'L2'}");
    assert_int_equal(json_array_size(json_object_get(json_object_get(
                         plan_step(plan, "files-remove", 0), "args"), "files")), 4);
    json_decref(plan);
    world_free(world);
}

/* s3's layer was left as a leaf: it goes with the layer that it stands on, or is merged into. */
static void garbage_goes_with_what_it_stands_on(void **state)
{
    static const char *const directions[] = { "stream", "commit" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct planner_world *world = world_one(3);
        json_t *plan, *request = json_pack("{s:s, s:s}", "name", "s2", "direction", directions[i]);
        char *text = json_dumps(request, 0);

        world_do(world, planner_revert, "{'name': 's2', 'discard': true}");
        do_on(world, "s4");
        world_do(world, planner_delete, "{'name': 's3', 'metadata-only': true}");
        plan = world_plan(world, planner_delete, text);
        assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                       "files"),
                       i == 0 ? "['/i/a.vm-4.qcow2', '/i/a.vm-3.qcow2']"
                              : "['/i/a.vm-4.qcow2', '/i/a.vm-6.qcow2']");
        json_decref(plan);
        json_decref(request);
        free(text);
        world_free(world);
    }
}

/* All at once, each time what is left can be started from and deleted further. */
static void every_order_of_deletes_leaves_the_image_of_the_command_line(void **state)
{
    static const char *const names[] = { "s1", "s2", "s3", "s4", "s5" };

    (void)state;
    for (size_t order = 0; order < 120; order++) {
        struct planner_world *world = world_family();
        size_t left[] = { 0, 1, 2, 3, 4 }, rest = order;

        do_on(world, "s5");
        for (size_t n = 5; n > 0; n--) {
            size_t pick = rest % n;
            const char *direction = (order + n) % 3 ? "auto" : "commit";
            json_t *request = json_pack("{s:s, s:s}", "name", names[left[pick]], "direction",
                                        direction);
            char *text = json_dumps(request, 0);

            rest /= n;
            world_allocated(world, state_str(state_disk(world->state, "drive:d0"), "active"),
                            (json_int_t)(order * n % 7 * 1000));
            world_do(world, planner_delete, text);
            memmove(&left[pick], &left[pick + 1], (n - pick - 1) * sizeof(left[0]));
            free(text);
            json_decref(request);
        }
        assert_json_is(json_object_get(world->state, "snapshots"), "[]");
        assert_int_equal(json_object_size(json_object_get(world->state, "layers")), 2);
        assert_string_equal(state_str(state_disk(world->state, "drive:d0"), "active"), "L2");
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_moves_less_is_moved_in_the_middle),
        cmocka_unit_test(guest_goes_on_while_its_layer_takes_the_one_below),
        cmocka_unit_test(direction_is_as_asked_for),
        cmocka_unit_test(direction_is_not_for_what_others_left),
        cmocka_unit_test(sizes_grow_with_each_merge),
        cmocka_unit_test(active_layer_goes_down_twice),
        cmocka_unit_test(side_branch_moves_to_the_image_of_the_command_line),
        cmocka_unit_test(marks_take_the_fingerprints_of_what_is_written_to),
        cmocka_unit_test(children_alone_are_deleted_without_a_merge),
        cmocka_unit_test(parent_of_a_deleted_family_is_merged_with_who_is_left),
        cmocka_unit_test(garbage_goes_with_what_it_stands_on),
        cmocka_unit_test(every_order_of_deletes_leaves_the_image_of_the_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
