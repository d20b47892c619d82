/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_model.h"

#include <stdio.h>

const char *const model_key[MODEL_DISKS] = { "drive:d0", "node:n1" };
const char *const model_name[MODEL_SNAPSHOTS] = {
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l",
    "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x",
};

static int number_of(const char *id)
{
    int number = atoi(id + 1);

    assert_in_range(number, 1, MODEL_LAYERS - 1);
    return number;
}

const char *model_active(const struct model *model, size_t disk)
{
    return state_str(state_disk(model->state, model_key[disk]), "active");
}

static const char *layer_add(struct model *model, const char *below, const char *mark)
{
    char real[32];
    const char *id;
    json_t *layer;

    snprintf(real, sizeof(real), "/i/%d",
             (int)json_integer_value(json_object_get(model->state, "counter")) + 1);
    layer = json_pack("{s:s, s:s, s:s, s:s?, s:i}", "path", real, "real", real, "format", "qcow2",
                      "parent", below, "size", MODEL_BLOCKS);
    if (mark)
        json_object_set_new(layer, mark, json_true());
    id = state_layer_add(model->state, layer);
    memset(model->file[number_of(id)], MODEL_HOLE, sizeof(model->file[0]));
    return id;
}

void model_write(struct model *model, size_t disk, size_t block)
{
    int value = ++model->next;

    model->file[number_of(model_active(model, disk))][block] = value;
    model->active[disk][block] = value;
}

void model_start(struct model *model, size_t n_disks, bool merge_all)
{
    memset(model, 0, sizeof(*model));
    model->state = state_new();
    model->n_disks = n_disks;
    model->merge_all = merge_all;
    for (size_t d = 0; d < n_disks; d++) {
        const char *foreign = layer_add(model, NULL, "foreign"), *base;

        for (size_t b = 0; b < MODEL_BLOCKS; b++)
            model->active[d][b] = model->file[number_of(foreign)][b] = ++model->next;
        base = layer_add(model, foreign, "base");
        json_object_set_new(json_object_get(model->state, "disks"), model_key[d],
                            json_pack("{s:s, s:s, s:s}", "device", "d", "active", base, "base",
                                      base));
        model_write(model, d, 0);
    }
}

static void model_unlink(struct model *model, json_t *paths)
{
    json_t *path;
    size_t i;

    json_array_foreach(paths, i, path) {
        int number = atoi(json_string_value(path) + 3);

        assert_false(model->unlinked[number]);
        model->unlinked[number] = true;
    }
    json_decref(paths);
}

static void assert_reads(const struct model *model, const char *id, const int *want)
{
    for (size_t b = 0; b < MODEL_BLOCKS; b++) {
        int value = MODEL_HOLE;

        for (const char *at = id; value == MODEL_HOLE;
             at = state_str(state_layer(model->state, at), "parent")) {
            assert_non_null(at);
            assert_false(model->unlinked[number_of(at)]);
            value = model->file[number_of(at)][b];
        }
        if (value != want[b])
            fail_msg("block %zu of %s is %d, was %d", b, id, value, want[b]);
    }
}

void model_check(const struct model *model)
{
    struct err err = ERR_INIT;
    json_t *snapshot, *layer;
    const char *id;
    size_t i;

    if (!state_check(model->state, &err))
        fail_msg("%s", err.desc);
    json_array_foreach(json_object_get(model->state, "snapshots"), i, snapshot)
        for (size_t d = 0; d < model->n_disks; d++) {
            id = state_str(json_object_get(snapshot, "disks"), model_key[d]);
            if (id)
                assert_reads(model, id, model->saved[state_str(snapshot, "name")[0] - 'a'][d]);
        }
    for (size_t d = 0; d < model->n_disks; d++) {
        assert_reads(model, model_active(model, d), model->active[d]);
        assert_int_equal(state_layer_children(model->state, model_active(model, d), NULL), 0);
        assert_false(state_layer_named(model->state, model_active(model, d), NULL));
    }
    json_object_foreach(json_object_get(model->state, "layers"), id, layer)
        assert_false(model->unlinked[number_of(id)]);
    for (size_t d = 1; d <= 2 * model->n_disks; d++)
        assert_false(model->unlinked[d]);   /* those that were there before us */
}

void model_create(struct model *model, size_t which, unsigned mask)
{
    json_t *snapshot = json_pack("{s:s, s:O, s:s, s:{}, s:[]}", "name", model_name[which],
                                 "parent", json_object_get(model->state, "current"), "run-state",
                                 "running", "disks", "args");

    for (size_t d = 0; d < model->n_disks; d++) {
        json_t *disk = state_disk(model->state, model_key[d]);

        if (!(mask & 1u << d))
            continue;
        json_object_set(json_object_get(snapshot, "disks"), model_key[d],
                        json_object_get(disk, "active"));
        json_object_set_new(disk, "active",
                            json_string(layer_add(model, model_active(model, d), NULL)));
        memcpy(model->saved[which][d], model->active[d], sizeof(model->active[d]));
        model_write(model, d, which % MODEL_BLOCKS);
        model_write(model, d, (which + 1) % MODEL_BLOCKS);
    }
    json_array_append_new(json_object_get(model->state, "snapshots"), snapshot);
    json_object_set_new(model->state, "current", json_string(model_name[which]));
}

void model_revert(struct model *model, size_t which)
{
    const json_t *snapshot = state_snapshot(model->state, model_name[which]);

    for (size_t d = 0; d < model->n_disks; d++) {
        const char *id = state_str(json_object_get(snapshot, "disks"), model_key[d]);

        if (!id)
            continue;
        json_object_set_new(state_disk(model->state, model_key[d]), "active",
                            json_string(layer_add(model, id, NULL)));
        memcpy(model->active[d], model->saved[which][d], sizeof(model->active[d]));
        model_write(model, d, (which + 3) % MODEL_BLOCKS);
    }
    json_object_set_new(model->state, "current", json_string(model_name[which]));
    model_unlink(model, state_collect_garbage(model->state));
}

/* What block-commit does to the files.  Headers of others than `above` are not rewritten. */
static void model_commit(struct model *model, const struct merge *merge)
{
    int *parent = model->file[number_of(merge->parent)];
    const int *child = model->file[number_of(merge->child)];
    json_t *layer = state_layer(model->state, merge->parent);
    const char *on = NULL;

    assert_false(json_is_true(json_object_get(layer, "foreign")));
    assert_false(state_layer_named(model->state, merge->parent, NULL));
    assert_int_equal(state_layer_children(model->state, merge->parent, &on), 1);
    assert_string_equal(on, merge->child);
    on = NULL;
    assert_int_equal(state_layer_children(model->state, merge->child, &on), merge->above ? 1 : 0);
    if (merge->above)
        assert_string_equal(on, merge->above);
    else
        assert_string_equal(state_layer_active_of(model->state, merge->child), merge->key);
    for (size_t b = 0; b < MODEL_BLOCKS; b++)
        if (child[b] != MODEL_HOLE)
            parent[b] = child[b];
    assert_false(model->unlinked[number_of(merge->child)]);
    model->unlinked[number_of(merge->child)] = true;
}

void model_delete(struct model *model, size_t which)
{
    json_t *garbage;

    state_snapshot_remove(model->state, model_name[which]);
    model_unlink(model, state_collect_garbage(model->state));
    for (size_t d = 0; d < model->n_disks; d++) {
        struct merge merge;
        bool more = true;

        while (more && merge_find(model->state, model_key[d], &merge)) {
            assert_string_equal(merge.key, model_key[d]);
            model_commit(model, &merge);
            merge_apply(model->state, &merge);
            merge_clear(&merge);
            more = model->merge_all;
        }
    }
    garbage = state_collect_garbage(model->state);
    assert_int_equal(json_array_size(garbage), 0);
    json_decref(garbage);
}
