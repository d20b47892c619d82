/* SPDX-License-Identifier: GPL-2.0-or-later */
/* observe: what clients' own snapshots make of the record, and what is left alone. */
#include "tests/unit/observe_world.h"

#include "policy/observe.h"
#include "policy/state.h"

/* ---- on top ---- */

static void nothing_new_is_nothing(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    assert_null(observe(&world->w, world->state, NULL));
    world_create(world, "s1");
    assert_null(observe(&world->w, world->state, NULL));
    world_free(world);
}

static void overlay_on_top_is_a_snapshot(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    const json_t *snapshot;
    char below[16];

    (void)state;
    world_create(world, "s1");
    snprintf(below, sizeof(below), "%s", active_of(world, "drive:d0"));
    json_array_append_new(json_object_get(world->state, "config"),
                          json_text("{'execute': 'blockdev-add', 'arguments': {'node-name': 'mine'}}"));
    put_on(world, 0, "mine", "/i/mine.qcow2");
    look(world, NULL);
    snapshot = snapshot_of(world, "mine");
    assert_string_equal(state_str(snapshot, "parent"), "s1");
    assert_string_equal(state_str(snapshot, "origin"), "observed");
    assert_string_equal(state_str(snapshot, "run-state"), "running");
    assert_null(json_object_get(snapshot, "memory"));
    assert_int_equal(json_array_size(json_object_get(snapshot, "config")), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(snapshot, "args"), 0)),
                        "qemu");
    assert_int_equal(json_object_size(json_object_get(snapshot, "disks")), 1);
    assert_string_equal(state_str(json_object_get(snapshot, "disks"), "drive:d0"), below);
    assert_string_equal(state_str(world->state, "current"), "mine");
    assert_true(json_is_object(json_object_get(state_layer(world->state, below), "print")));
    assert_json_is(state_layer(world->state, active_of(world, "drive:d0")),
                   "{'path': '/i/mine.qcow2', 'real': '/i/mine.qcow2', 'format': 'qcow2',"
                   " 'parent': 'L3', 'node': 'mine', 'size': 67108864, 'observed': true, 'ino': 7}");
    world_free(world);
}

static void disks_of_one_command_share_a_snapshot(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "paused");

    (void)state;
    put_on(world, 0, "a1", "/i/a1.qcow2");
    put_on(world, 1, "b1", "/i/b1.qcow2");
    look(world, "[['a1', 'b1']]");
    assert_int_equal(json_array_size(json_object_get(world->state, "snapshots")), 1);
    assert_json_is(json_object_get(snapshot_of(world, "a1"), "disks"),
                   "{'drive:d0': 'L2', 'drive:d1': 'L4'}");
    assert_string_equal(state_str(snapshot_of(world, "a1"), "run-state"), "paused");
    world_free(world);
}

static void disks_of_two_commands_do_not(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    put_on(world, 0, "#block9", "/i/a1.qcow2");
    put_on(world, 1, "b1", "/i/b1.qcow2");
    put_on(world, 0, "a2", "/i/a2.qcow2");
    look(world, "[['b1'], ['/i/a1.qcow2'], ['a2']]");
    assert_json_is(json_object_get(snapshot_of(world, "b1"), "disks"), "{'drive:d1': 'L5'}");
    assert_json_is(json_object_get(snapshot_of(world, "a1.qcow2"), "disks"), "{'drive:d0': 'L2'}");
    assert_json_is(json_object_get(snapshot_of(world, "a2"), "disks"), "{'drive:d0': 'L3'}");
    assert_string_equal(state_str(snapshot_of(world, "a1.qcow2"), "parent"), "b1");
    assert_string_equal(state_str(snapshot_of(world, "a2"), "parent"), "a1.qcow2");
    world_free(world);
}

static void snapshots_that_nobody_saw_go_level_by_level(void **state)
{
    struct planner_world *world = world_make(WORLD_NODES, "prelaunch");

    (void)state;
    put_on(world, 0, "a1", "/i/a1.qcow2");
    put_on(world, 0, "a2", "/i/a2.qcow2");
    put_on(world, 1, "b1", "/i/b1.qcow2");
    look(world, NULL);
    assert_int_equal(json_object_size(json_object_get(snapshot_of(world, "a1"), "disks")), 2);
    assert_int_equal(json_object_size(json_object_get(snapshot_of(world, "a2"), "disks")), 1);
    assert_string_equal(state_str(snapshot_of(world, "a2"), "parent"), "a1");
    assert_string_equal(state_str(snapshot_of(world, "a2"), "run-state"), "prelaunch");
    world_free(world);
}

static void disk_that_is_not_on_record_begins_at_the_command_lines_image(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    put_on(world, 0, "a1", "/i/a1.qcow2");
    look(world, NULL);
    assert_true(json_is_true(json_object_get(state_layer(world->state, "L1"), "foreign")));
    assert_true(json_is_true(json_object_get(state_layer(world->state, "L2"), "base")));
    assert_string_equal(state_str(state_layer(world->state, "L3"), "real"), "/i/a1.qcow2");
    assert_string_equal(state_str(state_disk(world->state, "drive:d0"), "base"), "L2");
    assert_null(state_disk(world->state, "drive:d1"));
    world_free(world);
}

/* Attached, nothing says what a disk began with but the command itself. */
static void without_a_command_line_the_command_tells(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_args(world, NULL);
    put_on(world, 0, "a1", "/i/a1.qcow2");
    assert_null(observe(&world->w, world->state, NULL));
    look(world, "[['a1']]");
    assert_string_equal(active_of(world, "drive:d0"), "L3");
    world_free(world);
}

static void header_in_another_spelling_is_kept(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    put_on(world, 0, "a1", "/i/sub/a1.qcow2");
    lead(world, "/i/sub/a1.qcow2", "/i/a.qcow2", "../a.qcow2", "qcow2");
    look(world, NULL);
    assert_string_equal(state_str(state_layer(world->state, "L3"), "backing"), "../a.qcow2");
    world_free(world);
}

static void header_that_does_not_lead_below_is_not_taken_over(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    put_on(world, 0, "a1", "/i/a1.qcow2");
    lead(world, "/i/a1.qcow2", NULL, NULL, NULL);
    assert_null(observe(&world->w, world->state, NULL));
    lead(world, "/i/a1.qcow2", "/i/b.raw", "/i/a.qcow2", "qcow2");
    assert_null(observe(&world->w, world->state, NULL));
    lead(world, "/i/a1.qcow2", NULL, "/i/a.qcow2", "qcow2");
    assert_null(observe(&world->w, world->state, NULL));
    lead(world, "/i/a1.qcow2", "/i/a.qcow2", "/i/a.qcow2", "raw");
    assert_null(observe(&world->w, world->state, NULL));
    lead(world, "/i/a1.qcow2", "/i/a.qcow2", "/i/a.qcow2", "qcow2");
    json_object_set_new(json_object_get(world->w.files, "/i/a1.qcow2"), "bad", json_string("x"));
    assert_null(observe(&world->w, world->state, NULL));
    json_object_del(json_object_get(world->w.files, "/i/a1.qcow2"), "bad");
    look(world, NULL);
    world_free(world);
}

static void names_are_made_to_fit(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    const char *long_name = "/i/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    (void)state;
    world_create(world, "mine");
    put_on(world, 0, "mine", "/i/1.qcow2");
    look(world, NULL);
    put_on(world, 0, "#b1", "/i/mine");
    look(world, NULL);
    put_on(world, 0, "#b2", "/i/.h\303\244 x.qcow2");
    look(world, NULL);
    put_on(world, 0, "#b3", long_name);
    look(world, NULL);
    snapshot_of(world, "mine-2");
    snapshot_of(world, "mine-3");
    snapshot_of(world, "_h___x.qcow2");
    assert_int_equal(strlen(state_str(world->state, "current")), 56);
    world_free(world);
}

static void file_that_is_needed_is_no_new_overlay(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    put_on(world, 0, "x", "/i/b.raw");
    assert_null(observe(&world->w, world->state, NULL));
    world_free(world);
}

/* ---- commands ---- */

static void commands_that_make_overlays(void **state)
{
    static const struct {
        const char *command, *arguments, *overlays;     /* NULL: none */
    } rows[] = {
        { "blockdev-snapshot", "{'node': 'n', 'overlay': 'o'}", "['o']" },
        { "blockdev-snapshot", "{}", "[]" },
        { "blockdev-snapshot-sync", "{'device': 'd', 'snapshot-file': '/f'}", "['/f']" },
        { "blockdev-snapshot-sync", "{'snapshot-node-name': 'n', 'snapshot-file': '/f'}",
          "['n', '/f']" },
        { "transaction", "{'actions': [{'type': 'abort', 'data': {}}]}", NULL },
        { "transaction", "{'actions': [{'type': 'abort', 'data': {}}, {'type': 'blockdev-snapshot',"
          " 'data': {'node': 'n', 'overlay': 'o'}}, {'type': 'blockdev-snapshot-sync',"
          " 'data': {'snapshot-file': '/f'}}]}", "['o', '/f']" },
        { "transaction", "{'actions': 7}", NULL },
        { "blockdev-snapshot-internal-sync", "{'device': 'd', 'name': 's'}", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *arguments = json_text(rows[i].arguments);
        json_t *overlays = observe_command(rows[i].command, arguments);

        if (rows[i].overlays)
            assert_json_is(overlays, rows[i].overlays);
        else
            assert_null(overlays);
        json_decref(arguments);
        json_decref(overlays);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_new_is_nothing),
        cmocka_unit_test(overlay_on_top_is_a_snapshot),
        cmocka_unit_test(disks_of_one_command_share_a_snapshot),
        cmocka_unit_test(disks_of_two_commands_do_not),
        cmocka_unit_test(snapshots_that_nobody_saw_go_level_by_level),
        cmocka_unit_test(disk_that_is_not_on_record_begins_at_the_command_lines_image),
        cmocka_unit_test(without_a_command_line_the_command_tells),
        cmocka_unit_test(header_in_another_spelling_is_kept),
        cmocka_unit_test(header_that_does_not_lead_below_is_not_taken_over),
        cmocka_unit_test(names_are_made_to_fit),
        cmocka_unit_test(file_that_is_needed_is_no_new_overlay),
        cmocka_unit_test(commands_that_make_overlays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
