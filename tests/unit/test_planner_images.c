/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Planners and what is known of image files: links, sizes, and whether QEMU has them open. */
#include "qmp/alloc.h"
#include "tests/unit/planner_world.h"

#include "policy/overlay.h"
#include "policy/reason.h"
#include "policy/state.h"

#define S1 "{'name': 's1'}"
#define S2 "{'name': 's2'}"

static json_t *vm_link(struct planner_world *world, size_t disk, size_t link)
{
    return json_array_get(json_object_get(json_array_get(world->vm, disk), "chain"), link);
}

/* The disk's image is a link in /l to one in /i. */
static struct planner_world *world_linked(void)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *file = world_file_add(world, "/l/b.raw", "raw", NULL, NULL);

    json_object_set_new(file, "real", json_string("/i/b.raw"));
    json_object_set_new(file, "link", json_true());
    json_object_set(file, "ino", json_object_get(json_object_get(world->w.files, "/i/b.raw"), "ino"));
    json_object_set(file, "size",
                    json_object_get(json_object_get(world->w.files, "/i/b.raw"), "size"));
    json_object_set_new(vm_link(world, 1, 0), "file", json_string("/l/b.raw"));
    world_graph(world);
    world_args(world, "-m 64 -drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/l/b.raw,if=ide,id=d1,format=raw");
    return world;
}

static void overlay_lies_where_the_link_leads_to(void **state)
{
    struct planner_world *world = world_linked();
    json_t *plan = world_plan(world, planner_create, S1);
    const json_t *layer = state_layer(json_object_get(plan, "after"), "L5");

    (void)state;
    assert_string_equal(state_str(state_layer(json_object_get(plan, "after"), "L4"), "path"),
                        "/l/b.raw");
    assert_string_equal(state_str(layer, "path"), "/i/b.vm-5.qcow2");
    assert_string_equal(state_str(layer, "real"), "/i/b.vm-5.qcow2");
    assert_string_equal(state_str(json_object_get(plan_step(plan, "overlay-create", 1), "args"),
                                  "backing"), "/l/b.raw");
    json_decref(plan);
    world_free(world);
}

/* A folder that is a link is another thing: the path goes on through it. */
static void overlay_lies_beside_an_image_in_a_linked_folder(void **state)
{
    struct planner_world *world = world_linked();
    json_t *plan;

    (void)state;
    json_object_del(json_object_get(world->w.files, "/l/b.raw"), "link");
    plan = world_plan(world, planner_create, S1);
    assert_string_equal(state_str(state_layer(json_object_get(plan, "after"), "L5"), "path"),
                        "/l/b.vm-5.qcow2");
    assert_string_equal(state_str(state_layer(json_object_get(plan, "after"), "L5"), "real"),
                        "/i/b.vm-5.qcow2");
    json_decref(plan);
    world_free(world);
}

static json_int_t size_of(const json_t *state, const char *layer)
{
    return json_integer_value(json_object_get(state_layer(state, layer), "size"));
}

static void create_takes_the_size_that_the_disk_has_now(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *plan;

    (void)state;
    json_object_set_new(vm_link(world, 1, 0), "virtual-size", json_integer(1 << 28));
    world_graph(world);
    plan = world_plan(world, planner_create, S2);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L5"), 1 << 28);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L7"), 1 << 28);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L4"), 1 << 26);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L6"), 1 << 26);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(
                         plan_step(plan, "overlay-create", 1), "args"), "size")), 1 << 28);
    json_decref(plan);
    world_free(world);
}

static void delete_takes_the_size_that_the_disk_has_now(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *plan;

    (void)state;
    json_object_set_new(vm_link(world, 1, 0), "virtual-size", json_integer(1 << 28));
    world_graph(world);
    plan = world_plan(world, planner_delete, S1);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L7"), 1 << 28);
    assert_int_equal(size_of(json_object_get(plan, "after"), "L4"), 1 << 26);
    json_decref(plan);
    plan = world_plan(world, planner_delete, S2);       /* what is committed into grows */
    assert_int_equal(size_of(json_object_get(plan, "after"), "L5"), 1 << 28);
    assert_int_equal(size_of(json_object_get(json_object_get(plan_step(plan, "snapshot-mark", 0),
                                                             "args"), "state") , "L7"), 1 << 28);
    json_decref(plan);
    world_free(world);
}

/* new: what a process has open that has all files of the world open. */
static json_t *all_open(const struct planner_world *world)
{
    json_t *open = json_object(), *file;
    const char *path;

    json_object_foreach(world->w.files, path, file) {
        json_t *id = json_sprintf("%lld:%lld",
                                  (long long)json_integer_value(json_object_get(file, "dev")),
                                  (long long)json_integer_value(json_object_get(file, "ino")));

        json_object_set_new(open, json_string_value(id), json_true());
        json_decref(id);
    }
    return open;
}

/* A file was put in the place of one that QEMU has open; each of the chain counts. */
static void file_that_qemu_has_not_open_is_noticed(void **state)
{
    static const char *const files[] = { "/i/gold.raw", "/i/a.qcow2", "/i/a.vm-3.qcow2",
                                         "/i/b.vm-5.qcow2" };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct planner_world *world = world_with(WORLD_DRIVES, 1);
        const json_t *file = json_object_get(world->w.files, files[i]);
        json_t *id = json_sprintf("1:%lld", (long long)json_integer_value(json_object_get(file,
                                                                                          "ino")));
        const char *desc;

        world->w.open = all_open(world);
        json_decref(world_plan(world, planner_create, S2));
        assert_int_equal(json_object_del(world->w.open, json_string_value(id)), 0);
        desc = world_refuse(world, planner_create, S2, REASON_IMAGE_CHANGED);
        if (!strstr(desc, files[i]) || !strstr(desc, "QEMU has another file open"))
            fail_msg("%s", desc);
        world_refuse(world, planner_delete, S1, REASON_IMAGE_CHANGED);
        json_decref(world->w.open);         /* nothing is known */
        world->w.open = NULL;
        json_decref(world_plan(world, planner_create, S2));
        json_decref(id);
        world_free(world);
    }
}

static void image_is_looked_at_before_its_first_snapshot(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world->w.open = all_open(world);
    json_decref(world_plan(world, planner_create, S1));
    json_object_set_new(json_object_get(world->w.files, "/i/b.raw"), "ino", json_integer(4711));
    world_refuse(world, planner_create, S1, REASON_IMAGE_CHANGED);
    world_free(world);
}

/* Somebody writes to the image that many VMs stand on. */
static void shared_image_that_was_written_to_is_noticed(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *file = json_deep_copy(json_object_get(world->w.files, "/i/gold.raw"));

    (void)state;
    json_object_set_new(file, "mtime", json_string("9.9"));
    json_object_set_new(world->w.files, "/i/gold.raw", file);
    world_refuse(world, planner_create, S2, REASON_IMAGE_CHANGED);
    world_refuse(world, planner_delete, S1, REASON_IMAGE_CHANGED);
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': true}", REASON_IMAGE_CHANGED);
    world_free(world);
}

/* What the command line says of a disk goes on to hold for its overlay. */
static void overlay_is_worked_with_as_the_image_below(void **state)
{
    static const struct {
        const char *below, *more;
        bool discard;
    } rows[] = {
        { "{}", "", false },
        { "{'cache': {'direct': false, 'no-flush': true}, 'detect_zeroes': 'off'}", "", false },
        { "{'cache': {'direct': true}}", ", 'cache': {'direct': true}", false },
        { "{'detect_zeroes': 'on'}", ", 'detect-zeroes': 'on'", false },
        { "{'detect_zeroes': 'unmap'}", ", 'detect-zeroes': 'unmap', 'discard': 'unmap'", false },
        { "{}", ", 'discard': 'unmap'", true },
    };
    json_t *layer = json_pack("{s:s, s:s}", "node", "n", "path", "/p");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *below = json_text(rows[i].below);
        json_t *options = overlay_options(layer, below, rows[i].discard);
        char *want = alloc_print("{'node-name': 'n', 'driver': 'qcow2', 'file': {'driver': 'file', "
                                 "'filename': '/p'}, 'backing': null%s}", rows[i].more);

        assert_json_is(options, want);
        free(want);
        json_decref(options);
        json_decref(below);
    }
    json_decref(layer);
}

/* A node that was left open, or that a client has given such a name, is not taken for the overlay. */
static void names_of_nodes_that_are_there_are_passed_over(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 1);
    json_t *plan;

    (void)state;
    json_array_append_new(world->vm, json_text("{'chain': [{'node': 'qsnap-6', 'drv': 'qcow2',"
                                               " 'file': '/i/other.qcow2'}]}"));
    world_graph(world);
    plan = world_plan(world, planner_create, S2);
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 0)), "node-name"), "qsnap-7");
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 1)), "node-name"), "qsnap-8");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(plan, "after"), "counter")), 8);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlay_lies_where_the_link_leads_to),
        cmocka_unit_test(overlay_lies_beside_an_image_in_a_linked_folder),
        cmocka_unit_test(create_takes_the_size_that_the_disk_has_now),
        cmocka_unit_test(delete_takes_the_size_that_the_disk_has_now),
        cmocka_unit_test(file_that_qemu_has_not_open_is_noticed),
        cmocka_unit_test(image_is_looked_at_before_its_first_snapshot),
        cmocka_unit_test(shared_image_that_was_written_to_is_noticed),
        cmocka_unit_test(overlay_is_worked_with_as_the_image_below),
        cmocka_unit_test(names_of_nodes_that_are_there_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
