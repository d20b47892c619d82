/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_delete: what stands in the way of a merge, and of which deletes it does not. */
#include "tests/unit/planner_world.h"

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"

#define S1 "{'name': 's1'}"
#define S2 "{'name': 's2'}"

static json_t *vm_link(struct planner_world *world, size_t disk, size_t link)
{
    return json_array_get(json_object_get(json_array_get(world->vm, disk), "chain"), link);
}

/* borrowed: the entry of a file of its own. */
static json_t *file_of(struct planner_world *world, const char *path)
{
    json_t *file = json_deep_copy(json_object_get(world->w.files, path));

    json_object_set_new(world->w.files, path, file);
    return file;
}

/* Not merged: the delete is of the name alone. */
static void assert_no_merge(struct planner_world *world, const char *request)
{
    json_t *plan = world_plan(world, planner_delete, request);

    assert_steps(plan, "state-write! files-remove?");
    json_decref(plan);
}

static void image_of_the_command_line_cannot_be_streamed_away(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    const char *desc = world_refuse(world, planner_delete, "{'name': 's1', 'direction': 'stream'}",
                                    REASON_DIRECTION_UNAVAILABLE);

    (void)state;
    if (!strstr(desc, "'/i/a.qcow2'") && !strstr(desc, "'/i/b.raw'"))
        fail_msg("%s", desc);
    json_decref(world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}"));
    world_free(world);
}

/* The guest's disk was made smaller behind s2: s2's layer would bring back what was cut off. */
static void nothing_is_committed_into_a_larger_layer(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan;

    (void)state;
    json_object_set_new(vm_link(world, 0, 0), "virtual-size", json_integer(1 << 20));
    world_graph(world);
    world_allocated(world, "L3", 900000);
    world_refuse(world, planner_delete, "{'name': 's2', 'direction': 'commit'}",
                 REASON_DIRECTION_UNAVAILABLE);
    plan = world_plan(world, planner_delete, S2);
    assert_string_equal(state_str(step_arguments(plan_step(plan, "block-stream", 0)), "device"),
                        "qsnap-6");
    assert_string_equal(state_str(step_arguments(plan_step(plan, "block-commit", 0)), "device"),
                        "d1");
    json_decref(plan);
    world_free(world);
}

/* It can go neither way: it stays without a name, and is not in the way of others. */
static void layer_that_can_go_neither_way_is_kept(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);

    (void)state;
    for (size_t i = 0; i < 2; i++)
        json_object_set_new(vm_link(world, i, 0), "virtual-size", json_integer(1 << 20));
    world_graph(world);
    assert_no_merge(world, S1);
    world_refuse(world, planner_delete, "{'name': 's1', 'direction': 'commit'}",
                 REASON_DIRECTION_UNAVAILABLE);
    world_do(world, planner_delete, S1);
    assert_non_null(state_layer(world->state, "L3"));
    world_free(world);
}

static void bitmaps_in_files_are_not_lost(void **state)
{
    static const char *const files[] = { "/i/a.vm-3.qcow2", "/i/a.vm-6.qcow2" };
    struct planner_world *world = world_with(WORLD_DRIVES, 2);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        json_t *file = file_of(world, files[i]);

        json_object_set_new(file, "bitmaps", json_true());
        if (!strstr(world_refuse(world, planner_delete, S2, REASON_UNSUPPORTED_DISK), files[i]))
            fail_msg("the wrong file is named");
        json_object_set_new(file, "bitmaps", json_false());
    }
    json_object_set_new(file_of(world, "/i/gold.raw"), "bitmaps", json_true());
    json_object_set_new(file_of(world, "/i/a.qcow2"), "bitmaps", json_true());
    json_decref(world_plan(world, planner_delete, S2)); /* neither of the two */
    world_free(world);
}

static void bitmaps_that_only_qemu_knows_are_not_lost(void **state)
{
    (void)state;
    for (size_t link = 0; link < 3; link++) {
        struct planner_world *world = world_with(WORLD_DRIVES, 2);

        json_object_set_new(vm_link(world, 0, link), "dirty-bitmaps", json_text("[{'name': 'b'}]"));
        world_graph(world);
        if (link < 2)
            world_refuse(world, planner_delete, S2, REASON_UNSUPPORTED_DISK);
        else
            json_decref(world_plan(world, planner_delete, S2));
        world_free(world);
    }
}

/* What this delete has not to do with waits for a later one. */
static void what_others_left_is_not_in_the_way(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 4);
    json_t *plan, *file;

    (void)state;
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    file = file_of(world, "/i/a.vm-3.qcow2");
    json_object_set_new(file, "bitmaps", json_true());
    plan = world_plan(world, planner_delete, "{'name': 's4'}");
    assert_non_null(state_layer(json_object_get(plan, "after"), "L3"));
    assert_null(state_layer(json_object_get(plan, "after"), "L7"));     /* of the other disk */
    assert_string_equal(state_str(step_arguments(plan_step(plan, "block-commit", 0)), "base-node"),
                        "qsnap-8");
    json_decref(plan);
    json_object_set_new(file, "bitmaps", json_false());
    plan = world_plan(world, planner_delete, "{'name': 's4'}");
    assert_null(state_layer(json_object_get(plan, "after"), "L6"));     /* went down into L3 */
    json_decref(plan);
    world_free(world);
}

/* Nor when it would take the room that this one needs. */
static void room_is_not_for_what_others_left(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 4);
    json_t *plan;

    (void)state;
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    world_room(world, "/i", 4 * 4096, true);
    plan = world_plan(world, planner_delete, "{'name': 's4'}");
    assert_int_equal(json_object_size(json_object_get(json_object_get(plan, "after"), "layers")), 7);
    json_decref(plan);
    world_room(world, "/i", 4 * 4096 - 1, true);        /* one of those that s2 left has to wait */
    plan = world_plan(world, planner_delete, "{'name': 's4'}");
    assert_int_equal(json_object_size(json_object_get(json_object_get(plan, "after"), "layers")), 9);
    json_decref(plan);
    world_room(world, "/i", 2 * 4096 - 1, true);
    world_refuse(world, planner_delete, "{'name': 's4'}", REASON_NO_SPACE);
    world_free(world);
}

static void filters_of_somebody_are_left_where_they_are(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);

    (void)state;
    json_object_set_new(vm_link(world, 0, 1), "filter", json_string("copy-on-read"));
    world_graph(world);
    if (!strstr(world_refuse(world, planner_delete, S2, REASON_UNSUPPORTED_DISK), "stands on it"))
        fail_msg("another filter");
    /* between s1's layer and s2's there is none, but it stands on what would go */
    world_refuse(world, planner_delete, S1, REASON_UNSUPPORTED_DISK);
    json_object_del(vm_link(world, 0, 1), "filter");
    json_object_set_new(json_array_get(world->vm, 1), "filter", json_string("throttle"));
    world_graph(world);
    world_refuse(world, planner_delete, S2, REASON_UNSUPPORTED_DISK);
    json_object_del(json_array_get(world->vm, 1), "filter");
    world_graph(world);
    json_decref(world_plan(world, planner_delete, S2));
    world_free(world);
}

/* s1's image is a device: it holds what it holds, however full the folders are. */
static void device_has_to_be_large_enough(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *device = file_of(world, "/i/b.raw"), *plan;

    (void)state;
    json_object_set_new(device, "kind", json_string("block"));
    json_object_set_new(device, "capacity", json_integer(1 << 26));
    plan = world_plan(world, planner_delete, S1);       /* just so */
    assert_true(plan_has_step(plan, "block-commit"));
    json_decref(plan);
    json_object_set_new(device, "capacity", json_integer((1 << 26) - 1));
    world_refuse(world, planner_delete, S1, REASON_UNSUPPORTED_DISK);
    json_object_set_new(device, "capacity", json_integer(1 << 27));
    json_object_set_new(vm_link(world, 1, 0), "virtual-size", json_integer(1 << 28));
    world_graph(world);                                 /* the disk was enlarged since */
    world_refuse(world, planner_delete, S1, REASON_UNSUPPORTED_DISK);
    world_free(world);
}

static void room_is_for_what_moves(void **state)
{
    struct planner_world *world = world_with(WORLD_NODES, 2);

    (void)state;
    world_allocated(world, "L3", 3000000);
    world_allocated(world, "L6", 2000000);
    world_room(world, "/i", 2000000 + 4096, true);      /* of both disks, in one folder */
    json_decref(world_plan(world, planner_delete, S2));
    world_room(world, "/i", 2000000 + 4095, true);
    world_refuse(world, planner_delete, S2, REASON_NO_SPACE);
    world_room(world, "/i", 1LL << 40, false);
    world_refuse(world, planner_delete, S2, REASON_FILE_UNUSABLE);
    json_decref(world_plan(world, planner_delete, "{'name': 's2', 'metadata-only': true}"));
    world_free(world);
}

/* s2's layer of the second disk lies in a folder of its own. */
static void each_folder_has_its_own_room(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *layer = state_layer(world->state, "L5");

    (void)state;
    json_object_set(world->w.files, "/j/b.qcow2", json_object_get(world->w.files,
                                                                  "/i/b.vm-5.qcow2"));
    json_object_set_new(file_of(world, "/j/b.qcow2"), "real", json_string("/j/b.qcow2"));
    json_object_set_new(layer, "path", json_string("/j/b.qcow2"));
    json_object_set_new(layer, "real", json_string("/j/b.qcow2"));
    json_object_set_new(vm_link(world, 1, 1), "file", json_string("/j/b.qcow2"));
    world_graph(world);
    world_room(world, "/i", 4096, true);
    world_room(world, "/j", 4096, true);
    json_decref(world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}"));
    world_room(world, "/j", 4095, true);
    world_refuse(world, planner_delete, "{'name': 's2', 'direction': 'commit'}", REASON_NO_SPACE);
    world_free(world);
}

/* QEMU has let go of its images: what merges nothing can be deleted. */
static void saved_guest_is_continued_before_a_merge(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);

    (void)state;
    world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    world_create(world, "s3");
    world_status_set(world, "postmigrate");
    world_refuse(world, planner_delete, "{'name': 's3'}", REASON_WRONG_STATE);
    assert_no_merge(world, S1);                         /* a branch point */
    assert_no_merge(world, S2);                         /* a leaf */
    world_do(world, planner_delete, S1);
    assert_no_merge(world, "{'name': 's3', 'metadata-only': true}");
    world_status_set(world, "paused");
    json_decref(world_plan(world, planner_delete, "{'name': 's3'}"));
    world_free(world);
}

/* The next delete merges what this one has left. */
static void names_alone_go_and_their_layers_later(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 3);
    json_t *plan;

    (void)state;
    json_object_set_new(file_of(world, "/i/a.vm-3.qcow2"), "bitmaps", json_true());
    world_room(world, "/i", 0, false);
    assert_no_merge(world, "{'name': 's2', 'metadata-only': true}");
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    assert_non_null(state_layer(world->state, "L3"));
    assert_null(state_snapshot(world->state, "s2"));
    world_room(world, "/i", 1LL << 40, true);
    json_object_del(file_of(world, "/i/a.vm-3.qcow2"), "bitmaps");
    plan = world_plan(world, planner_delete, "{'name': 's3'}");
    assert_int_equal(json_object_size(json_object_get(json_object_get(plan, "after"), "layers")),
                     5);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_of_the_command_line_cannot_be_streamed_away),
        cmocka_unit_test(nothing_is_committed_into_a_larger_layer),
        cmocka_unit_test(layer_that_can_go_neither_way_is_kept),
        cmocka_unit_test(bitmaps_in_files_are_not_lost),
        cmocka_unit_test(bitmaps_that_only_qemu_knows_are_not_lost),
        cmocka_unit_test(what_others_left_is_not_in_the_way),
        cmocka_unit_test(room_is_not_for_what_others_left),
        cmocka_unit_test(filters_of_somebody_are_left_where_they_are),
        cmocka_unit_test(device_has_to_be_large_enough),
        cmocka_unit_test(room_is_for_what_moves),
        cmocka_unit_test(each_folder_has_its_own_room),
        cmocka_unit_test(saved_guest_is_continued_before_a_merge),
        cmocka_unit_test(names_alone_go_and_their_layers_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
