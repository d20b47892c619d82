/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * merge and state: whatever snapshots are made, reverted to and deleted, in whatever order, what
 * remains reads as it was saved (layer_model.h).  test_merge_record.c has the single cases.
 *
 * MODEL_MAX in the environment makes the trees smaller (for valgrind).
 */
#include "tests/unit/layer_check.h"
#include "tests/unit/layer_walk.h"

static const char *const fill_name[MODEL_FILL__COUNT] = { "small over big", "big over small",
                                                          "mixed" };

static size_t at_most(size_t max)
{
    const char *text = getenv("MODEL_MAX");
    size_t asked = text ? (size_t)atoi(text) : max;

    return asked < max ? asked : max;
}

/* ---- every tree, deleted in every order ---- */

/* So many there are: each snapshot stands on one before it, or is made right away. */
static void assert_walked(const struct walk *walk)
{
    unsigned long long factorial = 1;

    for (size_t n = 1; n <= walk->max; n++) {
        unsigned long long trees = factorial * n * (n + 1), deletes = factorial * n;

        factorial *= n;
        assert_int_equal(walk->trees[n], trees);
        /* k snapshots: a delete of any, after a revert to any or none */
        assert_true(walk->orders[n] == trees * deletes * trees);
    }
}

static void walk_filled(size_t max, enum model_fill fill, bool alike, bool wishes)
{
    struct walk walk = { .max = max, .fill = fill, .alike = alike, .wishes = wishes };
    const struct model_count *count = &walk.count;

    walk_trees(&walk);
    assert_walked(&walk);
    assert_true(max < 3 || (count->commits && count->streams && count->side && count->copied));
    assert_true(!wishes || (count->crashes && count->skipped && count->refused));
    print_message("# %zu snapshots, %s%s%s: %lu trees, %llu orders, %lu states, %lu deletes, %lu "
                  "merges (%lu streams, %lu on side branches, %lu of copied layers), %lu crashes\n",
                  max, fill_name[fill], alike ? "" : " by name", wishes ? ", all wishes" : "",
                  walk.trees[max], walk.orders[max], walk.states, count->deletes, count->merges,
                  count->streams, count->side, count->copied, count->crashes);
}

static void every_tree_survives_deletes_in_every_order(void **state)
{
    (void)state;
    for (int fill = 0; fill < MODEL_FILL__COUNT; fill++)
        walk_filled(at_most(6), fill, true, false);
}

static void so_it_does_when_no_two_trees_are_filled_alike(void **state)
{
    (void)state;
    walk_filled(at_most(5), MODEL_MIXED, false, false);
}

static void every_way_to_delete_ends_in_the_same_layers(void **state)
{
    (void)state;
    for (int fill = 0; fill < MODEL_FILL__COUNT; fill++)
        walk_filled(at_most(4), fill, true, true);
}

/* ---- long lives of a VM with two disks ---- */

static unsigned roll(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed / 65536u % sides;
}

static struct model_wish roll_wish(unsigned *seed)
{
    static const char *const children[] = { NULL, "keep", "include", "only" };
    struct model_wish wish = { .direction = roll(seed, 3), .turned = roll(seed, 2) };

    if (roll(seed, 3) == 0)
        wish.children = children[roll(seed, 4)];
    wish.metadata_only = roll(seed, 5) == 0;
    if (roll(seed, 3) == 0)
        wish.skip = 2 + roll(seed, 4);
    if (roll(seed, 3) == 0)
        wish.interrupt = 1 + roll(seed, 3);
    wish.late = roll(seed, 2);
    return wish;
}

static void live(struct model *model, unsigned seed)
{
    for (int turn = 0; turn < 60; turn++) {
        size_t which = roll(&seed, 12);
        struct model_wish wish = roll_wish(&seed);

        if (!state_snapshot(model->state, model_name(which)))
            model_create(model, which, roll(&seed, 3) + 1);
        else if (roll(&seed, 3) == 0 && !model->deleting[which])
            model_revert(model, which);
        else
            model_delete(model, which, &wish);
        model_write(model, roll(&seed, MODEL_DISKS), roll(&seed, MODEL_BLOCKS));
        model_check(model);
    }
}

/* Whatever was skipped, interrupted or forgotten: when all have been deleted all is merged. */
static void live_no_more(struct model *model)
{
    const struct model_wish wish = { 0 };

    for (size_t which = 0; which < MODEL_SNAPSHOTS; which++)
        if (state_snapshot(model->state, model_name(which)))
            model_must(model, model_delete(model, which, &wish) == MODEL_DONE);
    model_must(model, json_array_size(json_object_get(model->state, "snapshots")) == 0);
}

static void long_lives_lose_nothing(void **state)
{
    struct model_count count = { 0 };
    unsigned lives = at_most(6) < 6 ? 60 : 600;

    (void)state;
    for (unsigned seed = 1; seed <= lives; seed++) {
        struct model model;

        model_start(&model, MODEL_DISKS, seed % MODEL_FILL__COUNT, &count);
        live(&model, seed);
        live_no_more(&model);
        json_decref(model.state);
    }
    assert_true(count.refused && count.streams && count.copied && count.skipped && count.most > 5);
    print_message("# %u lives: %lu deletes, %lu refused, %lu interrupted, %lu merges (%lu streams, "
                  "%lu on side branches, %lu of copied layers), at most %lu in one delete\n", lives,
                  count.deletes, count.refused, count.crashes, count.merges, count.streams,
                  count.side, count.copied, count.most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tree_survives_deletes_in_every_order),
        cmocka_unit_test(so_it_does_when_no_two_trees_are_filled_alike),
        cmocka_unit_test(every_way_to_delete_ends_in_the_same_layers),
        cmocka_unit_test(long_lives_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
