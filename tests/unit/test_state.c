/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state: the record: what can be worked with, its look-ups, and what becomes garbage. */
#include "tests/unit/json_text.h"

#include <stdio.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* A golden image L1, the VM's own L2, s1 with the children s2 (current) and s3. */
static const char tree[] =
    "{'format': 1, 'counter': 7, 'current': 's2', 'config': [],"
    " 'disks': {'drive:d0': {'device': 'd0', 'qdev': 'q', 'active': 'L6', 'base': 'L2'}},"
    " 'layers': {"
    "  'L1': {'path': '/i/gold', 'real': '/i/gold', 'format': 'raw', 'parent': null, 'size': 9,"
    "         'foreign': true},"
    "  'L2': {'path': '/i/a', 'real': '/i/a', 'format': 'qcow2', 'parent': 'L1', 'size': 9,"
    "         'base': true},"
    "  'L4': {'path': '/i/a.4', 'real': '/i/a.4', 'format': 'qcow2', 'parent': 'L2', 'size': 9},"
    "  'L5': {'path': '/i/a.5', 'real': '/i/a.5', 'format': 'qcow2', 'parent': 'L2', 'size': 9},"
    "  'L6': {'path': '/i/a.6', 'real': '/i/a.6', 'format': 'qcow2', 'parent': 'L4', 'size': 9}},"
    " 'snapshots': ["
    "  {'name': 's1', 'parent': null, 'run-state': 'running', 'disks': {'drive:d0': 'L2'},"
    "   'args': []},"
    "  {'name': 's2', 'parent': 's1', 'run-state': 'paused', 'disks': {'drive:d0': 'L4'},"
    "   'args': []},"
    "  {'name': 's3', 'parent': 's1', 'run-state': 'running', 'disks': {'drive:d0': 'L5'},"
    "   'args': []}]}";

static void new_record_can_be_worked_with(void **state)
{
    json_t *record = state_new();
    struct err err = ERR_INIT;

    (void)state;
    assert_true(state_check(record, &err));
    assert_int_equal(json_integer_value(json_object_get(record, "counter")), 0);
    assert_true(json_is_null(json_object_get(record, "current")));
    assert_json_is(json_object_get(record, "snapshots"), "[]");
    json_decref(record);
}

static void tree_can_be_worked_with(void **state)
{
    json_t *record = json_text(tree), *copy = json_deep_copy(record);
    struct err err = ERR_INIT;

    (void)state;
    assert_true(state_check(record, &err));
    assert_false(err.set);
    assert_json(record, copy);
    json_decref(record);
    json_decref(copy);
}

/* An operation that changes no record is told from one whose record is written already. */
static void record_comes_from_no_operation_without_one(void **state)
{
    json_t *record = json_text(tree), *after = json_deep_copy(record);

    (void)state;
    assert_false(state_is_after(record, NULL));
    state_advance(after);
    assert_false(state_is_after(record, after));
    assert_true(state_is_after(after, after));
    json_decref(record);
    json_decref(after);
}

/* Puts value (stolen; NULL: nothing) at a path of members and indexes, "snapshots.0.name". */
static void put(json_t *at, const char *path, json_t *value)
{
    char *copy = alloc_copy(path), *rest = NULL;
    char *word = strtok_r(copy, ".", &rest), *next;

    for (; (next = strtok_r(NULL, ".", &rest)); word = next)
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(word)) : json_object_get(at, word);
    if (json_is_array(at))
        json_array_set_new(at, (size_t)atoi(word), value);
    else if (value)
        json_object_set_new(at, word, value);
    else
        json_object_del(at, word);
    free(copy);
}

static void check_damage(const char *path, const char *value)
{
    json_t *record = json_text(tree);
    struct err err = ERR_INIT;

    put(record, path, value ? json_text(value) : NULL);
    if (state_check(record, &err))
        fail_msg("%s: %s was taken", path, value ? value : "nothing");
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    json_decref(record);
}

static void damage_is_refused(void **state)
{
    static const char *const rows[][2] = {
        { "format", NULL }, { "format", "0" }, { "format", "'1'" }, { "counter", NULL },
        { "counter", "'7'" }, { "layers", NULL }, { "layers", "[]" }, { "disks", "null" },
        { "snapshots", "{}" }, { "snapshots", NULL }, { "layers.L4", "'x'" },
        { "layers.L4.path", NULL }, { "layers.L4.real", "1" }, { "layers.L1.format", NULL },
        { "layers.L4.parent", "'L3'" }, { "layers.L1.parent", "'L6'" },
        { "layers.L6.parent", "'L6'" }, { "disks.drive:d0", "[]" },
        { "disks.drive:d0.active", NULL }, { "disks.drive:d0.active", "'L7'" },
        { "disks.drive:d0.base", NULL }, { "disks.drive:d0.base", "'L3'" },
        { "snapshots.1", "'s2'" }, { "snapshots.0.name", "1" }, { "snapshots.2.run-state", NULL },
        { "snapshots.2.disks", NULL }, { "snapshots.2.disks", "[]" }, { "snapshots.2.args", NULL },
        { "snapshots.2.disks.drive:d0", "'L7'" }, { "snapshots.2.disks.drive:d0", "5" },
        { "snapshots.2.parent", "'s4'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_damage(rows[i][0], rows[i][1]);
}

/* The search for s2's parent walks over s3. */
static void snapshot_without_a_name_behind_one_with_a_parent_is_refused(void **state)
{
    json_t *record = json_text(tree);
    struct err err = ERR_INIT;

    (void)state;
    put(record, "snapshots.1.parent", json_string("s9"));
    put(record, "snapshots.2.name", NULL);
    assert_false(state_check(record, &err));
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    json_decref(record);
}

/* What planners and look-ups rely on without asking again. */
static void damage_that_planners_would_trip_over_is_refused(void **state)
{
    static const char *const rows[][2] = {
        { "config", NULL },                     /* goes into the next snapshot */
        { "current", NULL }, { "current", "'s9'" }, { "current", "5" },
        { "args", "[]" }, { "args", "['qemu', 5]" }, { "args", "'qemu'" },
        { "layers.L6.size", NULL }, { "layers.L6.size", "'9'" },
        { "counter", "5" }, { "counter", "-1" },        /* L6 would be written over */
        { "snapshots.1.name", "'s1'" },
        { "snapshots.0.parent", "'s3'" },       /* s1 under s3 under s1 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_damage(rows[i][0], rows[i][1]);
}

static void newer_format_is_refused_as_such(void **state)
{
    json_t *record = json_text("{'format': 2, 'whatever': true}");
    struct err err = ERR_INIT;

    (void)state;
    assert_false(state_check(record, &err));
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    assert_non_null(strstr(err.desc, "newer"));
    err_clear(&err);
    json_decref(record);
}

static void snapshots_are_found_by_name(void **state)
{
    json_t *record = json_text(tree), *children;
    struct err err = ERR_INIT;

    (void)state;
    assert_string_equal(state_str(state_snapshot(record, "s2"), "parent"), "s1");
    assert_null(state_snapshot(record, "s"));
    assert_ptr_equal(state_snapshot_need(record, "s2", &err), state_snapshot(record, "s2"));
    assert_false(err.set);
    assert_null(state_snapshot_need(record, "s9", &err));
    assert_string_equal(err.reason, REASON_UNKNOWN_SNAPSHOT);
    assert_string_equal(state_str(err.data, "snapshot"), "s9");
    err_clear(&err);
    children = state_children(record, "s1");
    assert_json_is(children, "['s2', 's3']");
    json_decref(children);
    children = state_children(record, "s3");
    assert_json_is(children, "[]");
    json_decref(children);
    json_decref(record);
}

static void children_move_up_when_a_snapshot_goes(void **state)
{
    json_t *record = json_text(tree);
    struct err err = ERR_INIT;

    (void)state;
    state_snapshot_remove(record, "s1");
    assert_null(state_snapshot(record, "s1"));
    assert_true(json_is_null(json_object_get(state_snapshot(record, "s2"), "parent")));
    assert_true(json_is_null(json_object_get(state_snapshot(record, "s3"), "parent")));
    assert_string_equal(state_str(record, "current"), "s2");
    assert_true(state_check(record, &err));
    json_decref(record);
    record = json_text(tree);
    state_snapshot_remove(record, "s2");
    assert_string_equal(state_str(record, "current"), "s1");
    assert_true(state_check(record, &err));
    state_snapshot_remove(record, "s1");
    assert_true(json_is_null(json_object_get(record, "current")));
    assert_true(state_check(record, &err));
    assert_int_equal(json_array_size(json_object_get(record, "snapshots")), 1);
    json_decref(record);
}

static void numbers_of_layers_are_never_used_again(void **state)
{
    json_t *record = state_new(), *paths;
    const char *id;

    (void)state;
    for (int i = 1; i <= 3; i++) {
        char want[16];

        id = state_layer_add(record, json_text("{'path': 'p', 'real': '/p', 'format': 'raw',"
                                               " 'parent': null, 'size': 1}"));
        snprintf(want, sizeof(want), "L%d", i);
        assert_string_equal(id, want);
        assert_non_null(state_layer(record, id));
        paths = state_collect_garbage(record);
        assert_json_is(paths, "['/p']");
        json_decref(paths);
    }
    assert_int_equal(json_integer_value(json_object_get(record, "counter")), 3);
    assert_null(state_layer(record, "L1"));
    assert_null(state_layer(record, NULL));
    json_decref(record);
}

static void layers_know_what_stands_on_them(void **state)
{
    json_t *record = json_text(tree);
    const char *only = NULL;

    (void)state;
    assert_int_equal(state_layer_children(record, "L2", NULL), 2);
    assert_int_equal(state_layer_children(record, "L4", &only), 1);
    assert_string_equal(only, "L6");
    only = NULL;
    assert_int_equal(state_layer_children(record, "L6", &only), 0);
    assert_null(only);
    assert_true(state_layer_named(record, "L4", NULL));
    assert_true(state_layer_named(record, "L4", "s1"));
    assert_false(state_layer_named(record, "L4", "s2"));
    assert_false(state_layer_named(record, "L6", NULL));
    assert_string_equal(state_layer_active_of(record, "L6"), "drive:d0");
    assert_null(state_layer_active_of(record, "L4"));
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "base"), "L2");
    assert_null(state_disk(record, "drive:d1"));
    json_decref(record);
}

static void chains_end_at_the_named_image_or_below_it(void **state)
{
    json_t *record = json_text(tree), *chain;

    (void)state;
    chain = state_chain(record, "L6", false);
    assert_json_is(chain, "['L6', 'L4', 'L2']");
    json_decref(chain);
    chain = state_chain(record, "L6", true);
    assert_json_is(chain, "['L6', 'L4', 'L2', 'L1']");
    json_decref(chain);
    chain = state_chain(record, NULL, true);
    assert_json_is(chain, "[]");
    json_decref(chain);
    json_decref(record);
}

static void garbage_goes_from_the_top_down_and_spares_what_is_not_ours(void **state)
{
    json_t *record = json_text(tree), *paths;

    (void)state;
    paths = state_collect_garbage(record);
    assert_json_is(paths, "[]");
    json_decref(paths);
    /* s3 goes: only its own layer; the disk turns back to its first image: all but base, foreign */
    state_snapshot_remove(record, "s3");
    paths = state_collect_garbage(record);
    assert_json_is(paths, "['/i/a.5']");
    json_decref(paths);
    state_snapshot_remove(record, "s2");
    put(record, "disks.drive:d0.active", json_string("L2"));
    paths = state_collect_garbage(record);
    assert_int_equal(json_array_size(paths), 2);
    json_decref(paths);
    state_snapshot_remove(record, "s1");
    put(record, "disks.drive:d0", NULL);
    paths = state_collect_garbage(record);
    assert_json_is(paths, "[]");
    json_decref(paths);
    assert_non_null(state_layer(record, "L1"));
    assert_non_null(state_layer(record, "L2"));
    json_decref(record);
}

static void disks_that_no_snapshot_knows_are_forgotten(void **state)
{
    json_t *record = json_text(tree), *copy = json_deep_copy(record);

    (void)state;
    assert_false(state_forget_disks(record));
    put(record, "disks.drive:d0.active", json_string("L2")); /* s1 has it */
    assert_false(state_forget_disks(record));
    for (int i = 1; i <= 3; i++) {
        char name[] = { 's', (char)('0' + i), '\0' };

        state_snapshot_remove(record, name);
    }
    assert_false(state_forget_disks(record)); /* others still stand on it */
    json_decref(state_collect_garbage(record));
    assert_true(state_forget_disks(record));
    assert_json_is(json_object_get(record, "disks"), "{}");
    assert_json_is(json_object_get(record, "layers"), "{}");
    assert_false(state_forget_disks(record));
    /* On an overlay of its own it is not forgotten, whoever knows it. */
    for (int i = 1; i <= 3; i++) {
        char name[] = { 's', (char)('0' + i), '\0' };

        state_snapshot_remove(copy, name);
    }
    assert_false(state_forget_disks(copy));
    json_decref(record);
    json_decref(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_record_can_be_worked_with),
        cmocka_unit_test(tree_can_be_worked_with),
        cmocka_unit_test(record_comes_from_no_operation_without_one),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(snapshot_without_a_name_behind_one_with_a_parent_is_refused),
        cmocka_unit_test(damage_that_planners_would_trip_over_is_refused),
        cmocka_unit_test(newer_format_is_refused_as_such),
        cmocka_unit_test(snapshots_are_found_by_name),
        cmocka_unit_test(children_move_up_when_a_snapshot_goes),
        cmocka_unit_test(numbers_of_layers_are_never_used_again),
        cmocka_unit_test(layers_know_what_stands_on_them),
        cmocka_unit_test(chains_end_at_the_named_image_or_below_it),
        cmocka_unit_test(garbage_goes_from_the_top_down_and_spares_what_is_not_ours),
        cmocka_unit_test(disks_that_no_snapshot_knows_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
