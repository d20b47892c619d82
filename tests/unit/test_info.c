/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info: what query-snapshots says of a snapshot. */
#include "tests/unit/planner_world.h"

#include "policy/info.h"
#include "policy/state.h"

static void info_tells_what_the_schema_says(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *info;

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    info = info_snapshot(world->state, state_snapshot(world->state, "s1"), "snapshot-delete",
                         json_text("['x']"));
    assert_json_is(info,
                   "{'name': 's1', 'children': ['s2'], 'current': false,"
                   " 'created': {'seconds': 1700000000, 'microseconds': 1},"
                   " 'run-state': 'running', 'origin': 'created',"
                   " 'memory': {'format': 'stream', 'file': '/m/s1-1.mem', 'size': 70000000},"
                   " 'disks': [{'device': 'd0', 'image': '/i/a.qcow2', 'format': 'qcow2'},"
                   "           {'device': 'd1', 'image': '/i/b.raw', 'format': 'raw'}],"
                   " 'operation': 'snapshot-delete', 'problems': ['x']}");
    json_decref(info);
    info = info_snapshot(world->state, state_snapshot(world->state, "s2"), NULL, json_array());
    assert_string_equal(state_str(info, "parent"), "s1");
    assert_true(json_is_true(json_object_get(info, "current")));
    assert_null(json_object_get(info, "operation"));
    assert_json_is(json_object_get(json_array_get(json_object_get(info, "disks"), 0), "node-name"),
                   "'qsnap-3'");
    json_decref(info);
    world_free(world);
}

static size_t problems(const struct planner_world *world, const char *name)
{
    json_t *list = info_problems(world->state, state_snapshot(world->state, name), world->w.files);
    size_t n = json_array_size(list);

    json_decref(list);
    return n;
}

static void info_tells_what_is_wrong(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *memory;

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    memory = json_object_get(world->w.files, "/m/s1-1.mem");
    json_object_set_new(memory, "size", json_integer(70000000));
    json_object_set_new(json_object_get(world->w.files, "/m/s2-6.mem"), "size",
                        json_integer(70000000));
    assert_int_equal(problems(world, "s1"), 0);
    assert_int_equal(problems(world, "s2"), 0);
    json_object_set_new(memory, "size", json_integer(69999999));
    assert_int_equal(problems(world, "s1"), 1);
    world_file_remove(world, "/m/s1-1.mem");
    assert_int_equal(problems(world, "s1"), 1);
    json_object_set_new(state_snapshot(world->state, "s1"), "deleting", json_true());
    assert_int_equal(problems(world, "s1"), 2);
    world_file_remove(world, "/i/b.raw");       /* s2 stands on it as well */
    assert_int_equal(problems(world, "s1"), 3);
    assert_int_equal(problems(world, "s2"), 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_tells_what_the_schema_says),
        cmocka_unit_test(info_tells_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
