/* SPDX-License-Identifier: GPL-2.0-or-later */
/* merge: which one is found, and what it does to the record, case by case. */
#include "tests/unit/json_text.h"

#include "policy/merge.h"
#include "policy/state.h"

/* L1 (the command line's image) <- L2 <- L3 <- L4, which the guest writes to. */
static const char straight[] =
    "{'format': 1, 'counter': 4, 'current': 's3', 'config': [],"
    " 'disks': {'drive:d0': {'device': 'd0', 'active': 'L4', 'base': 'L1'}},"
    " 'layers': {"
    "  'L1': {'path': 'a', 'real': '/a', 'format': 'raw', 'parent': null, 'size': 5, 'base': true,"
    "         'print': {'size': 1}, 'backing': 'x'},"
    "  'L2': {'path': 'b', 'real': '/b', 'format': 'qcow2', 'parent': 'L1', 'size': 7,"
    "         'print': {'size': 2}, 'backing': 'x'},"
    "  'L3': {'path': 'c', 'real': '/c', 'format': 'qcow2', 'parent': 'L2', 'size': 7,"
    "         'print': {'size': 3}, 'backing': 'x'},"
    "  'L4': {'path': 'd', 'real': '/d', 'format': 'qcow2', 'parent': 'L3', 'size': 7}},"
    " 'snapshots': ["
    "  {'name': 's2', 'parent': null, 'run-state': 'running', 'args': [],"
    "   'disks': {'drive:d0': 'L2'}},"
    "  {'name': 's3', 'parent': 's2', 'run-state': 'running', 'args': [],"
    "   'disks': {'drive:d0': 'L3'}}]}";

/* Beside it L5 on L2 with L6 on it, and L7 and L8 on that. */
static json_t *record_new(bool branched)
{
    static const char *const below[] = { "L2", "L5", "L6", "L6" };
    json_t *record = json_text(straight);

    for (int i = 0; branched && i < 4; i++)
        state_layer_add(record, json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}}", "path", "e",
                                          "real", "/e", "format", "qcow2", "parent", below[i],
                                          "size", 7, "print", "size", 1));
    return record;
}

static void record_name(json_t *record, const char *name, const char *layer)
{
    json_array_append_new(json_object_get(record, "snapshots"),
                          json_pack("{s:s, s:s, s:[], s:{s:s}}", "name", name, "run-state",
                                    "running", "args", "disks", "drive:d0", layer));
}

static const char *record_parent(const json_t *record, const char *layer)
{
    return state_str(state_layer(record, layer), "parent");
}

static bool record_has(const json_t *record, const char *layer, const char *member)
{
    return json_object_get(state_layer(record, layer), member) != NULL;
}

static const char *record_snapshot(const json_t *record, const char *name)
{
    return state_str(json_object_get(state_snapshot(record, name), "disks"), "drive:d0");
}

/* Finds it, and compares; above: NULL, there is none. */
static struct merge find(const json_t *record, const char *key, const struct merge_search *search,
                         enum merge_direction direction, const char *parent, const char *child,
                         const char *above, json_int_t bytes)
{
    struct merge merge;

    assert_true(merge_find(record, key, search, &merge));
    assert_int_equal(merge.direction, direction);
    assert_string_equal(merge.parent, parent);
    assert_string_equal(merge.child, child);
    if (above)
        assert_string_equal(merge.above, above);
    else
        assert_null(merge.above);
    if (key)
        assert_string_equal(merge.key, key);
    else
        assert_null(merge.key);
    assert_int_equal(merge.bytes, bytes);
    assert_string_equal(merge_target(&merge), direction == MERGE_COMMIT ? parent : child);
    assert_string_equal(merge_emptied(&merge), direction == MERGE_COMMIT ? child : parent);
    return merge;
}

static void apply(json_t *record, struct merge *merge)
{
    struct err err = ERR_INIT;

    merge_apply(record, merge);
    merge_clear(merge);
    assert_null(merge->parent);
    assert_true(state_check(record, &err));
}

static void assert_none(const json_t *record, const char *key, const struct merge_search *search)
{
    struct merge merge;

    assert_false(merge_find(record, key, search, &merge));
}

/* ---- commits ---- */

static void references_to_the_child_become_the_parents(void **state)
{
    json_t *record = record_new(false), *layer;
    const struct merge_search search = { 0 };
    struct merge merge;

    (void)state;
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L1", "L2", "L3", 0);
    apply(record, &merge);
    assert_null(state_layer(record, "L2"));
    layer = state_layer(record, "L1");
    assert_int_equal(json_integer_value(json_object_get(layer, "size")), 7);
    assert_true(json_is_true(json_object_get(layer, "base")));
    assert_null(json_object_get(layer, "print"));           /* it was written into */
    assert_true(record_has(record, "L1", "backing"));       /* its header is what it was */
    assert_false(record_has(record, "L3", "print"));        /* and that one's is not */
    assert_false(record_has(record, "L3", "backing"));
    assert_string_equal(record_parent(record, "L3"), "L1");
    assert_string_equal(record_snapshot(record, "s2"), "L1");
    assert_string_equal(record_snapshot(record, "s3"), "L3");
    assert_none(record, "drive:d0", &search);
    json_decref(record);
}

static void active_layer_merges_into_the_one_below(void **state)
{
    json_t *record = record_new(false);
    const struct merge_search search = { 0 };
    struct merge merge;

    (void)state;
    json_object_set_new(state_layer(record, "L3"), "size", json_integer(9));
    json_object_set_new(state_layer(record, "L4"), "size", json_integer(9));
    state_snapshot_remove(record, "s3");
    state_snapshot_remove(record, "s2");
    json_object_set_new(state_layer(record, "L1"), "foreign", json_true());
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L2", "L3", "L4", 0);
    apply(record, &merge);
    assert_int_equal(json_integer_value(json_object_get(state_layer(record, "L2"), "size")), 9);
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L2", "L4", NULL, 0);
    apply(record, &merge);
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L2");
    assert_int_equal(json_integer_value(json_object_get(state_layer(record, "L2"), "size")), 9);
    assert_none(record, "drive:d0", &search);   /* below is a foreign layer */
    assert_none(record, "drive:d1", &search);
    json_decref(record);
}

static void a_child_that_others_stand_on_stays_as_a_copy(void **state)
{
    json_t *record = record_new(true);
    const struct merge_search search = { 0 };
    struct merge merge;

    (void)state;
    record_name(record, "s5", "L5");
    record_name(record, "s6", "L6");
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L1", "L2", "L3", 0);
    apply(record, &merge);
    assert_true(record_has(record, "L2", "copied"));
    assert_true(record_has(record, "L2", "print"));     /* nothing has touched it */
    assert_string_equal(record_parent(record, "L2"), "L1");
    assert_string_equal(record_parent(record, "L5"), "L2");
    assert_string_equal(record_parent(record, "L3"), "L1");
    assert_string_equal(record_snapshot(record, "s2"), "L1");
    /* L5 is moved off it, and so it goes */
    merge = find(record, NULL, &search, MERGE_STREAM, "L2", "L5", NULL, 0);
    assert_true(record_has(record, "L5", "print"));
    apply(record, &merge);
    assert_null(state_layer(record, "L2"));
    assert_string_equal(record_parent(record, "L5"), "L1");
    assert_false(record_has(record, "L5", "print"));
    assert_false(record_has(record, "L5", "backing"));
    assert_none(record, NULL, &search);
    json_decref(record);
}

/* ---- streams ---- */

static const char bytes_text[] = "{'L1': 10, 'L2': 20, 'L3': 30, 'L4': 25, 'L5': 7, 'L6': 7}";

static void what_costs_less_is_done(void **state)
{
    json_t *record = record_new(false), *bytes = json_text(bytes_text);
    const struct merge_search search = { .bytes = bytes };
    struct merge merge;

    (void)state;
    state_snapshot_remove(record, "s2");
    state_snapshot_remove(record, "s3");
    record_name(record, "s1", "L1");
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 20);
    merge_clear(&merge);
    json_object_set_new(bytes, "L3", json_integer(20));     /* as much: the chain gets no longer */
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L2", "L3", "L4", 20);
    merge_clear(&merge);
    json_object_set_new(bytes, "L3", json_integer(21));
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 20);
    apply(record, &merge);
    assert_null(state_layer(record, "L2"));
    assert_string_equal(record_parent(record, "L3"), "L1");
    assert_false(record_has(record, "L3", "print"));
    assert_false(record_has(record, "L3", "backing"));
    assert_true(record_has(record, "L1", "print"));
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L3", "L4", NULL, 21);
    apply(record, &merge);
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L4");
    assert_none(record, "drive:d0", &search);
    json_decref(record);
    json_decref(bytes);
}

static void the_first_image_never_goes_up(void **state)
{
    json_t *record = record_new(false), *bytes = json_text(bytes_text), *own = json_text("{}");
    struct merge_search search = { .bytes = bytes, .own = own, .direction = MERGE_STREAM };
    struct merge merge;

    (void)state;
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L1", "L2", "L3", 20);
    merge_clear(&merge);
    assert_null(merge_refused(record, &search));    /* it was not asked for */
    json_object_set_new(own, "L1", json_true());
    assert_none(record, "drive:d0", &search);
    assert_string_equal(merge_refused(record, &search), "L1");
    search.direction = MERGE_COMMIT;
    assert_null(merge_refused(record, &search));
    search.direction = MERGE_STREAM;
    record_name(record, "s1", "L1");
    assert_null(merge_refused(record, &search));    /* it stays anyhow */
    json_decref(record);
    json_decref(bytes);
    json_decref(own);
}

static void a_direction_is_for_own_layers(void **state)
{
    json_t *record = record_new(false), *bytes = json_text(bytes_text), *own = json_text("{}");
    struct merge_search search = { .bytes = bytes, .own = own, .direction = MERGE_COMMIT };
    struct merge merge;

    (void)state;
    state_snapshot_remove(record, "s2");
    record_name(record, "s1", "L1");
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 20);
    merge_clear(&merge);
    json_object_set_new(own, "L2", json_true());
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L2", "L3", "L4", 30);
    merge_clear(&merge);
    search.direction = MERGE_STREAM;
    json_object_set_new(bytes, "L2", json_integer(99));
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 99);
    merge_clear(&merge);
    json_object_set_new(state_layer(record, "L2"), "copied", json_true());
    search.direction = MERGE_COMMIT;        /* all of it lies below already */
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 99);
    merge_clear(&merge);
    assert_null(merge_refused(record, &search));
    json_decref(record);
    json_decref(bytes);
    json_decref(own);
}

/* ---- side branches ---- */

static void a_side_branch_goes_up_unless_nothing_stands_on_it(void **state)
{
    json_t *record = record_new(true), *bytes = json_text(bytes_text), *own = json_text("{}");
    struct merge_search search = { .bytes = bytes, .own = own };
    struct merge merge;

    (void)state;
    record_name(record, "s1", "L1");
    record_name(record, "s7", "L7");
    record_name(record, "s8", "L8");
    json_object_set_new(bytes, "L6", json_integer(1));
    merge = find(record, NULL, &search, MERGE_STREAM, "L5", "L6", NULL, 7);
    merge_clear(&merge);
    json_object_set_new(own, "L5", json_true());
    search.direction = MERGE_COMMIT;
    merge = find(record, NULL, &search, MERGE_COMMIT, "L5", "L6", NULL, 1);
    apply(record, &merge);
    assert_true(record_has(record, "L6", "copied"));
    assert_string_equal(record_parent(record, "L6"), "L5");
    /* One after the other is moved off it; it is not committed once more. */
    merge = find(record, NULL, &search, MERGE_STREAM, "L6", "L7", NULL, 0);
    apply(record, &merge);
    assert_true(record_has(record, "L6", "copied"));
    merge = find(record, NULL, &search, MERGE_STREAM, "L6", "L8", NULL, 0);
    apply(record, &merge);
    assert_null(state_layer(record, "L6"));
    assert_none(record, NULL, &search);     /* two stand on L5 now */
    json_object_del(json_object_get(record, "layers"), "L7");
    state_snapshot_remove(record, "s7");
    json_object_clear(own);
    json_object_set_new(bytes, "L8", json_integer(2));
    merge = find(record, NULL, &search, MERGE_COMMIT, "L5", "L8", NULL, 2);
    apply(record, &merge);
    assert_string_equal(record_snapshot(record, "s8"), "L5");
    assert_none(record, NULL, &search);
    json_decref(record);
    json_decref(bytes);
    json_decref(own);
}

static void what_is_skipped_stays(void **state)
{
    json_t *record = record_new(true), *skip = json_text("{'L1': true, 'L5': true}");
    const struct merge_search search = { .skip = skip };
    struct merge merge;

    (void)state;
    record_name(record, "s6", "L6");
    assert_none(record, "drive:d0", &search);
    assert_none(record, NULL, &search);
    json_object_del(skip, "L1");
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L1", "L2", "L3", 0);
    merge_clear(&merge);
    json_object_del(skip, "L5");
    merge = find(record, NULL, &search, MERGE_STREAM, "L5", "L6", NULL, 0);
    merge_clear(&merge);
    json_decref(record);
    json_decref(skip);
}

/* Not even when somebody asks about side branches first. */
static void a_side_branch_leaves_running_and_foreign_layers_alone(void **state)
{
    json_t *record = record_new(true);
    const struct merge_search search = { 0 };
    struct merge merge;

    (void)state;
    record_name(record, "s6", "L6");
    state_snapshot_remove(record, "s2");
    json_object_set_new(state_layer(record, "L2"), "copied", json_true());
    json_object_set_new(state_layer(record, "L5"), "foreign", json_true());
    assert_none(record, NULL, &search);
    json_object_del(state_layer(record, "L5"), "foreign");
    merge = find(record, NULL, &search, MERGE_STREAM, "L5", "L6", NULL, 0);
    merge_clear(&merge);
    json_decref(record);
}

/* A copied layer that takes in another one holds no more than what is below both. */
static void a_copy_of_a_copy_is_one(void **state)
{
    json_t *record = record_new(true);
    const struct merge_search search = { 0 };
    struct merge merge;

    (void)state;
    state_snapshot_remove(record, "s3");
    record_name(record, "s1", "L1");
    json_object_set_new(state_layer(record, "L3"), "copied", json_true());
    json_object_set_new(state_layer(record, "L2"), "copied", json_true());
    state_snapshot_remove(record, "s2");
    merge = find(record, "drive:d0", &search, MERGE_STREAM, "L2", "L3", NULL, 0);
    apply(record, &merge);
    assert_true(record_has(record, "L3", "copied"));
    assert_true(record_has(record, "L2", "copied"));    /* L5 stands on it */
    json_object_del(state_layer(record, "L3"), "copied");
    json_object_set_new(state_layer(record, "L4"), "copied", json_true());
    merge = find(record, "drive:d0", &search, MERGE_COMMIT, "L3", "L4", NULL, 0);
    merge.direction = MERGE_STREAM;
    apply(record, &merge);
    assert_false(record_has(record, "L4", "copied"));
    json_decref(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_to_the_child_become_the_parents),
        cmocka_unit_test(active_layer_merges_into_the_one_below),
        cmocka_unit_test(a_child_that_others_stand_on_stays_as_a_copy),
        cmocka_unit_test(what_costs_less_is_done),
        cmocka_unit_test(the_first_image_never_goes_up),
        cmocka_unit_test(a_direction_is_for_own_layers),
        cmocka_unit_test(a_side_branch_goes_up_unless_nothing_stands_on_it),
        cmocka_unit_test(what_is_skipped_stays),
        cmocka_unit_test(a_side_branch_leaves_running_and_foreign_layers_alone),
        cmocka_unit_test(a_copy_of_a_copy_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
