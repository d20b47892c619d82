/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model_delete(): a delete as policy/planner_delete.c plans it, in a layer_model.
 *
 * All merges are found first, on a copy of the record.  Then the snapshots are marked, the merges
 * are done round by round, each of them recorded, and at the end the record is the one that was
 * planned.  What is read is looked at whenever anything has changed.
 */
#include "tests/unit/layer_merge.h"

#include "policy/subtree.h"

#define DELETE_MERGES 64

struct deletion {
    struct model *model;
    const struct model_wish *wish;
    json_t *names;              /* of all that go */
    json_t *after;
    json_t *bytes, *own, *skip;
    struct merge_search search;
    struct merge merges[DELETE_MERGES];
    size_t round[DELETE_MERGES], n_merges, n_rounds;
    bool gone[MODEL_LAYERS];    /* to be unlinked at the end */
    bool refused;
};

/* ---- what has to be done ---- */

/* Takes the snapshots out of the record; their layers are the ones that the direction is for. */
static void delete_names(struct deletion *delete)
{
    json_t *name, *layer;
    const char *key;
    size_t i;

    json_array_foreach(delete->names, i, name) {
        const json_t *snapshot = state_snapshot(delete->after, json_string_value(name));

        json_object_foreach(json_object_get(snapshot, "disks"), key, layer)
            json_object_set_new(delete->own, json_string_value(layer), json_true());
        state_snapshot_remove(delete->after, json_string_value(name));
    }
}

static void delete_garbage(struct deletion *delete)
{
    json_t *garbage = state_collect_garbage(delete->after), *path;
    size_t i;

    json_array_foreach(garbage, i, path)
        delete->gone[atoi(json_string_value(path) + 3)] = true;
    json_decref(garbage);
}

static void delete_bytes(struct deletion *delete)
{
    json_t *layer;
    const char *id;

    json_object_foreach(json_object_get(delete->after, "layers"), id, layer)
        json_object_set_new(delete->bytes, id,
                            json_integer(model_bytes(delete->model, model_number(id))));
}

/* Does something stand in the way of that merge, as a bitmap or a filter would? */
static bool delete_cannot(const struct deletion *delete, const struct merge *merge)
{
    return delete->wish->skip && model_number(merge->parent) % (int)delete->wish->skip == 0;
}

static void delete_take(struct deletion *delete, const struct merge *merge, json_t *state)
{
    const char *target = merge_target(merge);
    json_int_t had = json_integer_value(json_object_get(delete->bytes, target));

    model_must(delete->model, delete->n_merges < DELETE_MERGES);
    delete->round[delete->n_merges] = delete->n_rounds;
    delete->merges[delete->n_merges++] = *merge;
    json_object_set_new(delete->bytes, target, json_integer(had + merge->bytes));
    merge_apply(state, merge);
}

static void delete_find_next(struct deletion *delete, const char *key, json_t *state)
{
    struct merge merge;

    while (!delete->refused && merge_find(state, key, &delete->search, &merge)) {
        model_check_choice(delete->model, state, &delete->search, key, &merge);
        if (!delete_cannot(delete, &merge)) {
            delete_take(delete, &merge, state);
            return;
        }
        delete->model->count->skipped++;
        delete->refused = json_object_get(delete->own, merge.parent) != NULL;
        json_object_set_new(delete->skip, merge.parent, json_true());
        merge_clear(&merge);
    }
}

/* What must be refused is known: the command line's image cannot be streamed away. */
static void delete_check_refused(struct deletion *delete, const json_t *state)
{
    const char *refused = merge_refused(state, &delete->search), *id;
    struct layer_map map;
    json_t *mark;
    bool must = false;

    map_make(&map, delete->model, state);
    json_object_foreach(delete->own, id, mark) {
        const struct layer_row *row = &map.row[model_number(id)];

        must = must || (delete->wish->direction == MERGE_STREAM && row->base && row->names == 0 &&
                        row->children == 1 && !json_object_get(delete->skip, id));
    }
    model_must(delete->model, must == (refused != NULL));
    delete->refused = refused != NULL;
}

static void delete_find(struct deletion *delete)
{
    json_t *state = json_deep_copy(delete->after);
    size_t n;

    delete_bytes(delete);
    delete->search = (struct merge_search){ .bytes = delete->bytes, .own = delete->own,
                                            .skip = delete->skip,
                                            .direction = delete->wish->direction };
    do {
        n = delete->n_merges;
        for (size_t d = 0; d < delete->model->n_disks; d++)
            delete_find_next(delete, model_key[d], state);
        if (delete->n_merges == n)
            delete_find_next(delete, NULL, state);
        delete->n_rounds++;
    } while (delete->n_merges > n && !delete->refused);
    if (!delete->refused)
        delete_check_refused(delete, state);
    json_decref(state);
}

/* ---- and how it goes ---- */

static void delete_mark(struct deletion *delete)
{
    struct model *model = delete->model;
    struct layer_map map;
    json_t *name;
    size_t i;

    json_array_foreach(delete->names, i, name) {
        json_object_set_new(state_snapshot(model->state, json_string_value(name)), "deleting",
                            json_true());
        model->deleting[model_which(json_string_value(name))] = true;
    }
    for (i = 0; i < delete->n_merges; i++)
        json_object_del(state_layer(model->state, merge_target(&delete->merges[i])), "print");
    map_make(&map, model, model->state);
    check_reads(model, &map);
}

/* What is being deleted names no layer of that disk any more; on a side branch, not that layer. */
static void delete_disclaim(struct deletion *delete, const struct merge *merge)
{
    json_t *name, *layer;
    const char *key;
    void *next;
    size_t i;

    json_array_foreach(delete->names, i, name) {
        json_t *disks = json_object_get(state_snapshot(delete->model->state,
                                                       json_string_value(name)), "disks");

        json_object_foreach_safe(disks, next, key, layer)
            if (merge->key ? strcmp(key, merge->key) == 0
                           : strcmp(json_string_value(layer), merge->parent) == 0)
                json_object_del(disks, key);
    }
}

static void delete_record(struct deletion *delete, const struct merge *merge)
{
    struct model *model = delete->model;
    struct layer_map map;

    delete_disclaim(delete, merge);
    merge_apply(model->state, merge);
    map_make(&map, model, model->state);
    check_reads(model, &map);
    model_must(model, check_headers(model, &map));
}

static void delete_count(struct model_count *count, const struct merge *merge, bool copied)
{
    count->merges++;
    count->commits += merge->direction == MERGE_COMMIT;
    count->streams += merge->direction == MERGE_STREAM;
    count->side += !merge->key;
    count->copied += copied;
}

/* The crash: the record is the one before, unless the headers show that the merge has ended. */
static void delete_crash(struct deletion *delete, const struct merge *ended)
{
    struct model *model = delete->model;
    struct layer_map map;

    map_make(&map, model, model->state);
    check_reads(model, &map);
    if (!check_headers(model, &map)) {
        model_must(model, ended);
        delete_record(delete, ended);
    }
    for (int n = 1; n < MODEL_LAYERS; n++) {
        char id[16];

        snprintf(id, sizeof(id), "L%d", n);
        if (delete->gone[n] && !state_layer(model->state, id))
            model_unlink(model, n);
    }
    model->count->crashes++;
    model_check(model);
}

static void delete_end_merge(struct deletion *delete, const struct merge *merge,
                             const struct layer_map *map)
{
    bool copied = json_object_get(state_layer(delete->after, merge->parent), "copied") != NULL;

    model_turn(delete->model, map, merge);
    merge_apply(delete->after, merge);
    if (!state_layer(delete->after, merge_emptied(merge)))
        delete->gone[model_number(merge_emptied(merge))] = true;
    delete_count(delete->model->count, merge, copied);
}

/* Merges of one round move together, and end one after the other.  False: interrupted. */
static bool delete_round(struct deletion *delete, size_t round)
{
    struct model *model = delete->model;
    unsigned interrupt = delete->wish->interrupt;
    struct layer_map map;

    map_make(&map, model, model->state);
    for (size_t i = 0; i < delete->n_merges; i++) {
        bool half = i + 1 == interrupt && !delete->wish->late;

        if (delete->round[i] != round)
            continue;
        model_move(model, &map, &delete->merges[i], half);
        if (half) {
            delete_crash(delete, NULL);
            return false;
        }
    }
    for (size_t i = 0; i < delete->n_merges; i++) {
        if (delete->round[i] != round)
            continue;
        map_make(&map, model, model->state);
        delete_end_merge(delete, &delete->merges[i], &map);
        if (i + 1 == interrupt) {
            delete_crash(delete, &delete->merges[i]);
            return false;
        }
        delete_record(delete, &delete->merges[i]);
    }
    return true;
}

/* The record as it was kept along the way leads to the planned one. */
static void delete_check_now(const struct deletion *delete)
{
    json_t *now = json_deep_copy(delete->model->state), *name;
    size_t i;

    json_array_foreach(delete->names, i, name)
        state_snapshot_remove(now, json_string_value(name));
    json_decref(state_collect_garbage(now));
    assert_json(now, delete->after);
    json_decref(now);
}

static void delete_finish(struct deletion *delete)
{
    struct model *model = delete->model;
    json_t *name;
    size_t i;

    if (!delete->wish->metadata_only)
        delete_check_now(delete);
    json_decref(model->state);
    model->state = json_incref(delete->after);
    json_array_foreach(delete->names, i, name)
        model->deleting[model_which(json_string_value(name))] = false;
    for (int n = 1; n < MODEL_LAYERS; n++) {
        if (!delete->gone[n])
            continue;
        model_must(model, n > 2 * (int)model->n_disks);     /* images that were there before */
        model_unlink(model, n);
    }
    model_check(model);
    model_freeze(model);
    if (!delete->wish->metadata_only && !json_object_size(delete->skip))
        model_check_merged(model);
    model->count->deletes++;
    if (delete->n_merges > model->count->most)
        model->count->most = delete->n_merges;
}

static enum model_end delete_run(struct deletion *delete)
{
    bool whole = true;

    delete_names(delete);
    if (!delete->wish->metadata_only) {
        delete_garbage(delete);
        delete_find(delete);
    }
    if (delete->refused)
        return MODEL_REFUSED;
    if (delete->n_merges)
        delete_mark(delete);
    for (size_t round = 0; whole && round < delete->n_rounds; round++)
        whole = delete_round(delete, round);
    if (!whole)
        return MODEL_INTERRUPTED;
    delete_finish(delete);
    return MODEL_DONE;
}

static void delete_turn_record(struct model *model)
{
    json_t *layers = json_object_get(model->state, "layers"), *turned = json_object(), *layer;
    const char *ids[MODEL_LAYERS], *id;
    size_t n = 0;

    json_object_foreach(layers, id, layer)
        ids[n++] = id;
    while (n-- > 0)
        json_object_set(turned, ids[n], json_object_get(layers, ids[n]));
    json_object_set_new(model->state, "layers", turned);
}

enum model_end model_delete(struct model *model, size_t which, const struct model_wish *wish)
{
    struct deletion delete = { .model = model, .wish = wish };
    struct err err = ERR_INIT;
    enum model_end end = MODEL_REFUSED;

    model_note(model, wish->metadata_only ? "forget" : wish->interrupt ? "begin" : "delete",
               model_name(which));
    if (wish->turned)
        delete_turn_record(model);
    delete.names = subtree_names(model->state, model_name(which), wish->children, &err);
    if (delete.names) {
        delete.after = json_deep_copy(model->state);
        delete.own = json_object();
        delete.skip = json_object();
        delete.bytes = json_object();
        end = delete_run(&delete);
    }
    model->count->refused += end == MODEL_REFUSED;
    for (size_t i = 0; i < delete.n_merges; i++)
        merge_clear(&delete.merges[i]);
    json_decref(delete.names);
    json_decref(delete.after);
    json_decref(delete.own);
    json_decref(delete.skip);
    json_decref(delete.bytes);
    err_clear(&err);
    return end;
}
