/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_walk.h"

#include <xxhash.h>

#include "qmp/alloc.h"
#include "tests/unit/layer_form.h"

/* In how many ways it can go on from there: with a delete first, or with either. */
struct walk_state {
    XXH128_hash_t form;
    unsigned long long deletes, both;
};

/* By the hashes of forms; zero: free. */
struct walk_seen {
    struct walk_state *state;
    size_t n, size;
};

/* ---- what has been seen ---- */

static struct walk_state *seen_slot(const struct walk_seen *seen, XXH128_hash_t form)
{
    size_t at = form.low64 & (seen->size - 1);

    while ((seen->state[at].form.low64 || seen->state[at].form.high64) &&
           !XXH128_isEqual(seen->state[at].form, form))
        at = (at + 1) & (seen->size - 1);
    return &seen->state[at];
}

static void seen_grow(struct walk_seen *seen)
{
    struct walk_seen bigger = { .n = seen->n, .size = seen->size ? 2 * seen->size : 1024 };

    bigger.state = alloc_zeroed(bigger.size, sizeof(*bigger.state));
    assert_non_null(bigger.state);
    for (size_t i = 0; i < seen->size; i++)
        if (seen->state[i].form.low64 || seen->state[i].form.high64)
            *seen_slot(&bigger, seen->state[i].form) = seen->state[i];
    free(seen->state);
    *seen = bigger;
}

/* Borrowed until the next one is looked for. */
static struct walk_state *seen_find(struct walk_seen *seen, XXH128_hash_t form)
{
    struct walk_state *state;

    if (seen->n * 2 >= seen->size)
        seen_grow(seen);
    state = seen_slot(seen, form);
    if (!XXH128_isEqual(state->form, form)) {
        state->form = form;
        seen->n++;
    }
    return state;
}

/* ---- deletes ---- */

static XXH128_hash_t walk_form(const struct model *model)
{
    char form[FORM_SIZE];

    form_make(model, false, form);
    return XXH3_128bits(form, strlen(form));
}

static unsigned long long walk_on(struct walk *walk, const struct model *model);

/* The name goes alone; what is left has to do for all that follows. */
static void walk_forget(struct walk *walk, const struct model *model, size_t which)
{
    const struct model_wish wish = { .metadata_only = true };
    struct model copy;

    model_copy(&copy, model);
    model_must(&copy, model_delete(&copy, which, &wish) == MODEL_DONE);
    walk_on(walk, &copy);
    json_decref(copy.state);
}

static unsigned long long walk_delete(struct walk *walk, const struct model *model, size_t which)
{
    const struct model_wish wish = { 0 };
    unsigned long long orders;
    struct model copy;

    model_copy(&copy, model);
    model_must(&copy, model_delete(&copy, which, &wish) == MODEL_DONE);
    walk->deletes++;
    if (walk->wishes) {
        walk_wishes(model, which, &copy);
        walk_forget(walk, model, which);
    }
    orders = walk_on(walk, &copy);
    json_decref(copy.state);
    return orders;
}

/* The orders that begin with a delete. */
static unsigned long long walk_deletes(struct walk *walk, const struct model *model)
{
    XXH128_hash_t form = walk_form(model);
    unsigned long long orders = seen_find(walk->seen, form)->deletes;

    if (orders)
        return orders;
    walk->states++;
    for (size_t which = 0; which <= WALK_MAX; which++)
        if (state_snapshot(model->state, model_name(which)))
            orders += walk_delete(walk, model, which);
    orders = orders ? orders : 1;
    seen_find(walk->seen, form)->deletes = orders;
    return orders;
}

/* All orders.  Of two reverts in a row the first one is nothing but gone. */
static unsigned long long walk_on(struct walk *walk, const struct model *model)
{
    XXH128_hash_t form = walk_form(model);
    unsigned long long orders = seen_find(walk->seen, form)->both;

    if (orders)
        return orders;
    orders = walk_deletes(walk, model);
    for (size_t which = 0; which <= WALK_MAX; which++) {
        struct model copy;

        if (!state_snapshot(model->state, model_name(which)))
            continue;
        model_copy(&copy, model);
        model_revert(&copy, which);
        model_check(&copy);
        orders += walk_deletes(walk, &copy);
        json_decref(copy.state);
    }
    seen_find(walk->seen, form)->both = orders;
    return orders;
}

/* ---- trees ---- */

/* The guest stands on the snapshot made last, or (to > 0) goes back to one; that is a tree, and
 * bigger ones are made of it. */
static void walk_tree(struct walk *walk, const struct model *model, size_t n)
{
    for (size_t to = 0; to <= n; to++) {
        struct model copy;

        model_copy(&copy, model);
        if (to > 0)
            model_revert(&copy, to - 1);
        model_check(&copy);
        if (n > 0) {
            walk->trees[n]++;
            walk->orders[n] += walk_on(walk, &copy);
        }
        if (n < walk->max) {
            model_create(&copy, n, 1);
            walk_tree(walk, &copy, n + 1);
        }
        json_decref(copy.state);
    }
}

void walk_trees(struct walk *walk)
{
    struct walk_seen seen = { 0 };
    struct model model;

    walk->seen = &seen;
    model_start(&model, 1, walk->fill, &walk->count);
    model.alike = walk->alike;
    walk_tree(walk, &model, 0);
    json_decref(model.state);
    free(seen.state);
    walk->seen = NULL;
}
