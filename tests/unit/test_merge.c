/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * merge and state: whatever snapshots are made, reverted to and deleted, in whatever order, what
 * remains reads as it was saved (layer_model.h).
 *
 * MODEL_MAX in the environment makes the trees smaller (for valgrind).
 */
#include "tests/unit/layer_model.h"

/* ---- every tree, deleted in every order ---- */

/* When all could be merged, nothing but the two first images is left. */
static void assert_all_merged(const struct model *model)
{
    if (!model->merge_all)
        return;
    assert_int_equal(json_object_size(json_object_get(model->state, "layers")), 2);
    assert_string_equal(model_active(model, 0), "L2");
}

static void delete_orders(const struct model *model, size_t n)
{
    bool left = false;

    for (size_t i = 0; i < n; i++) {
        struct model copy;

        if (!state_snapshot(model->state, model_name[i]))
            continue;
        left = true;
        copy = *model;
        copy.state = json_deep_copy(model->state);
        model_delete(&copy, i);
        model_check(&copy);
        delete_orders(&copy, n);
        json_decref(copy.state);
    }
    if (!left)
        assert_all_merged(model);
}

/* Snapshot `at` is made right away, or after a revert to any earlier one; so is the end. */
static void trees(const struct model *model, size_t at, size_t n, size_t *count)
{
    for (size_t to = 0; to <= at; to++) {
        struct model copy = *model;

        copy.state = json_deep_copy(model->state);
        if (to > 0)
            model_revert(&copy, to - 1);
        if (at < n) {
            model_create(&copy, at, 1);
            trees(&copy, at + 1, n, count);
        } else {
            model_check(&copy);
            delete_orders(&copy, n);
            (*count)++;
        }
        json_decref(copy.state);
    }
}

static void every_tree_survives_deletes_in_every_order(void **state)
{
    const char *text = getenv("MODEL_MAX");
    size_t max = text ? (size_t)atoi(text) : 5, shapes = 1;

    (void)state;
    for (size_t n = 1; n <= max; n++) {
        shapes *= n;
        for (int all = 0; all < 2; all++) {
            size_t count = 0;
            struct model model;

            model_start(&model, 1, all);
            trees(&model, 0, n, &count);
            assert_int_equal(count, shapes * (n + 1));
            json_decref(model.state);
        }
    }
}

/* ---- long lives of a VM with two disks ---- */

static unsigned roll(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed / 65536u % sides;
}

static void live(struct model *model, unsigned seed)
{
    for (int turn = 0; turn < 60; turn++) {
        size_t which = roll(&seed, MODEL_SNAPSHOTS);
        bool there = state_snapshot(model->state, model_name[which]) != NULL;

        if (!there)
            model_create(model, which, roll(&seed, 3) + 1);
        else if (roll(&seed, 3) == 0)
            model_revert(model, which);
        else
            model_delete(model, which);
        model_write(model, roll(&seed, MODEL_DISKS), roll(&seed, MODEL_BLOCKS));
        model_check(model);
    }
}

static void long_lives_lose_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct model model;

        model_start(&model, MODEL_DISKS, seed % 2);
        live(&model, seed);
        json_decref(model.state);
    }
}

/* ---- what a merge does to the record ---- */

static const char middle[] =
    "{'format': 1, 'counter': 4, 'current': 's3', 'config': [],"
    " 'disks': {'drive:d0': {'device': 'd0', 'active': 'L4', 'base': 'L1'}},"
    " 'layers': {"
    "  'L1': {'path': 'a', 'real': '/a', 'format': 'raw', 'parent': null, 'size': 5, 'base': true,"
    "         'print': {'size': 1}},"
    "  'L2': {'path': 'b', 'real': '/b', 'format': 'qcow2', 'parent': 'L1', 'size': 7,"
    "         'print': {'size': 2}},"
    "  'L3': {'path': 'c', 'real': '/c', 'format': 'qcow2', 'parent': 'L2', 'size': 7,"
    "         'print': {'size': 3}},"
    "  'L4': {'path': 'd', 'real': '/d', 'format': 'qcow2', 'parent': 'L3', 'size': 7}},"
    " 'snapshots': ["
    "  {'name': 's2', 'run-state': 'running', 'args': [], 'disks': {'drive:d0': 'L2'}},"
    "  {'name': 's3', 'run-state': 'running', 'args': [], 'disks': {'drive:d0': 'L3'}}]}";

static void references_to_the_child_become_the_parents(void **state)
{
    json_t *record = json_text(middle), *layer;
    struct merge merge;

    (void)state;
    assert_true(merge_find(record, "drive:d0", &merge));
    assert_string_equal(merge.parent, "L1");
    assert_string_equal(merge.child, "L2");
    assert_string_equal(merge.above, "L3");
    merge_apply(record, &merge);
    merge_clear(&merge);
    assert_null(merge.key);
    assert_null(state_layer(record, "L2"));
    layer = state_layer(record, "L1");
    assert_int_equal(json_integer_value(json_object_get(layer, "size")), 7);
    assert_true(json_is_true(json_object_get(layer, "base")));
    assert_null(json_object_get(layer, "print"));           /* it was written into */
    assert_null(json_object_get(state_layer(record, "L3"), "print"));   /* and its header */
    assert_string_equal(state_str(state_layer(record, "L3"), "parent"), "L1");
    assert_string_equal(state_str(json_object_get(state_snapshot(record, "s2"), "disks"),
                                  "drive:d0"), "L1");
    assert_string_equal(state_str(json_object_get(state_snapshot(record, "s3"), "disks"),
                                  "drive:d0"), "L3");
    assert_false(merge_find(record, "drive:d0", &merge));
    json_decref(record);
}

static void active_layer_merges_into_the_one_below(void **state)
{
    json_t *record = json_text(middle);
    struct merge merge;

    (void)state;
    json_object_set_new(state_layer(record, "L3"), "size", json_integer(9));
    state_snapshot_remove(record, "s3");
    state_snapshot_remove(record, "s2");
    json_object_set_new(state_layer(record, "L1"), "foreign", json_true());
    assert_true(merge_find(record, "drive:d0", &merge));
    assert_string_equal(merge.parent, "L3");
    assert_string_equal(merge.child, "L4");
    assert_null(merge.above);
    merge_apply(record, &merge);
    merge_clear(&merge);
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L3");
    assert_int_equal(json_integer_value(json_object_get(state_layer(record, "L3"), "size")), 9);
    assert_true(merge_find(record, "drive:d0", &merge));
    merge_apply(record, &merge);
    merge_clear(&merge);
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L2");
    assert_false(merge_find(record, "drive:d0", &merge));   /* below is a foreign layer */
    assert_false(merge_find(record, "drive:d1", &merge));
    json_decref(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tree_survives_deletes_in_every_order),
        cmocka_unit_test(long_lives_lose_nothing),
        cmocka_unit_test(references_to_the_child_become_the_parents),
        cmocka_unit_test(active_layer_merges_into_the_one_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
