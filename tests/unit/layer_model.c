/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_model.h"

#include <stdio.h>

const char *const model_key[MODEL_DISKS] = { "drive:d0", "node:n1" };

const char *model_name(size_t which)
{
    static char names[MODEL_SNAPSHOTS][8];

    assert_true(which < MODEL_SNAPSHOTS);
    snprintf(names[which], sizeof(names[which]), "s%zu", which);
    return names[which];
}

size_t model_which(const char *name)
{
    return (size_t)atoi(name + 1);
}

int model_number(const char *id)
{
    int number = atoi(id + 1);

    assert_in_range(number, 1, MODEL_LAYERS - 1);
    return number;
}

void model_note(struct model *model, const char *what, const char *name)
{
    size_t length = strlen(model->trail);

    snprintf(model->trail + length, sizeof(model->trail) - length, " %s %s,", what, name);
}

static const char *model_active(const struct model *model, size_t disk)
{
    return state_str(state_disk(model->state, model_key[disk]), "active");
}

/* The record holds the new layer; its header names `below`. */
static const char *layer_add(struct model *model, const char *below, const char *mark)
{
    char real[32];
    const char *id;
    json_t *layer;
    int number;

    snprintf(real, sizeof(real), "/i/%d",
             (int)json_integer_value(json_object_get(model->state, "counter")) + 1);
    layer = json_pack("{s:s, s:s, s:s, s:s?, s:i}", "path", real, "real", real, "format", "qcow2",
                      "parent", below, "size", MODEL_BLOCKS);
    if (mark)
        json_object_set_new(layer, mark, json_true());
    id = state_layer_add(model->state, layer);
    number = model_number(id);
    memset(model->file[number], MODEL_HOLE, sizeof(model->file[0]));
    model->header[number] = below ? model_number(below) : 0;
    return id;
}

void model_put(struct model *model, int number, size_t block, int value)
{
    model->file[number][block] = value;
    model->version[number]++;
}

void model_point(struct model *model, int number, int below)
{
    model->header[number] = below;
    model->version[number]++;
}

void model_freeze(struct model *model)
{
    json_t *layer;
    const char *id;

    json_object_foreach(json_object_get(model->state, "layers"), id, layer)
        if (!state_layer_active_of(model->state, id) && !json_object_get(layer, "print"))
            json_object_set_new(layer, "print", json_integer(model->version[model_number(id)]));
}

void model_write(struct model *model, size_t disk, size_t block)
{
    int value = ++model->next;

    model_put(model, model_number(model_active(model, disk)), block, value);
    model->active[disk][block] = value;
}

/* How many blocks go into a layer that has `depth` others below it.  The same for all that look the
 * same, whatever their names are (layer_walk.h), but for the salt. */
static size_t model_fill_size(const struct model *model, size_t depth, unsigned below,
                              unsigned salt)
{
    switch (model->fill) {
    case MODEL_SMALL_OVER_BIG:
        return depth + 2 < MODEL_BLOCKS ? MODEL_BLOCKS - 1 - depth : 1;
    case MODEL_BIG_OVER_SMALL:
        return depth < MODEL_BLOCKS ? depth + 1 : MODEL_BLOCKS;
    default:
        return 1 + (below * 2654435761u + (unsigned)depth * 40503u + salt * 2246822519u) / 65536u %
                   (MODEL_BLOCKS - 2);
    }
}

static void model_fill_active(struct model *model, size_t disk, unsigned salt)
{
    json_t *chain = state_chain(model->state, model_active(model, disk), false);
    size_t depth = json_array_size(chain) - 1, size;
    unsigned below = 0;

    if (depth > 0) {
        const int *file = model->file[model_number(json_string_value(json_array_get(chain, 1)))];

        for (size_t b = 0; b < MODEL_BLOCKS; b++)
            below |= (file[b] != MODEL_HOLE ? 1u : 0u) << b;
    }
    size = model_fill_size(model, depth, below, salt);
    for (size_t b = 0; b < size; b++)
        model_write(model, disk, (b + depth * 3) % MODEL_BLOCKS);
    json_decref(chain);
}

void model_start(struct model *model, size_t n_disks, enum model_fill fill,
                 struct model_count *count)
{
    memset(model, 0, sizeof(*model));
    model->state = state_new();
    model->n_disks = n_disks;
    model->fill = fill;
    model->count = count;
    for (size_t d = 0; d < n_disks; d++) {
        const char *foreign = layer_add(model, NULL, "foreign"), *base;

        for (size_t b = 0; b < MODEL_BLOCKS; b++)
            model->active[d][b] = model->file[model_number(foreign)][b] = ++model->next;
        memcpy(model->foreign[d], model->active[d], sizeof(model->active[d]));
        base = layer_add(model, foreign, "base");
        json_object_set_new(json_object_get(model->state, "disks"), model_key[d],
                            json_pack("{s:s, s:s, s:s}", "device", "d", "active", base, "base",
                                      base));
        model_fill_active(model, d, 0);
    }
}

void model_copy(struct model *copy, const struct model *model)
{
    *copy = *model;
    copy->state = json_deep_copy(model->state);
}

void model_unlink(struct model *model, int number)
{
    model_must(model, !model->unlinked[number]);
    model->unlinked[number] = true;
}

void model_create(struct model *model, size_t which, unsigned mask)
{
    json_t *snapshot = json_pack("{s:s, s:O, s:s, s:{}, s:[]}", "name", model_name(which),
                                 "parent", json_object_get(model->state, "current"), "run-state",
                                 "running", "disks", "args");

    model_note(model, "create", model_name(which));
    for (size_t d = 0; d < model->n_disks; d++) {
        json_t *disk = state_disk(model->state, model_key[d]);

        if (!(mask & 1u << d))
            continue;
        json_object_set(json_object_get(snapshot, "disks"), model_key[d],
                        json_object_get(disk, "active"));
        json_object_set_new(disk, "active",
                            json_string(layer_add(model, model_active(model, d), NULL)));
        memcpy(model->saved[which][d], model->active[d], sizeof(model->active[d]));
        model_fill_active(model, d, model->alike ? 0 : (unsigned)which + 1);
    }
    model_freeze(model);
    model->deleting[which] = false;
    json_array_append_new(json_object_get(model->state, "snapshots"), snapshot);
    json_object_set_new(model->state, "current", json_string(model_name(which)));
}

void model_revert(struct model *model, size_t which)
{
    const json_t *snapshot = state_snapshot(model->state, model_name(which));
    json_t *garbage, *path;
    size_t i;

    model_note(model, "revert", model_name(which));
    for (size_t d = 0; d < model->n_disks; d++) {
        const char *id = state_str(json_object_get(snapshot, "disks"), model_key[d]);

        if (!id)
            continue;
        json_object_set_new(state_disk(model->state, model_key[d]), "active",
                            json_string(layer_add(model, id, NULL)));
        memcpy(model->active[d], model->saved[which][d], sizeof(model->active[d]));
        model_fill_active(model, d, 0);
    }
    json_object_set_new(model->state, "current", json_string(model_name(which)));
    garbage = state_collect_garbage(model->state);
    json_array_foreach(garbage, i, path)
        model_unlink(model, atoi(json_string_value(path) + 3));
    json_decref(garbage);
}
