/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cold start: the command line names the image that the VM began with; its disks have gone on to
 * other layers since.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/planner.h"
#include "policy/planner_layers.h"
#include "policy/reason.h"
#include "policy/state.h"

json_t *planner_files(const json_t *state)
{
    json_t *files = json_array();
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer) {
        json_array_append(files, json_object_get(layer, "real"));
        /* A relative name in its header is looked for beside where it was opened. */
        if (json_object_get(layer, "backing"))
            json_array_append(files, json_object_get(layer, "path"));
    }
    return files;
}

/* The layer whose file is the one at path, or NULL. */
static const char *start_layer_at(const struct world *world, const json_t *state, const char *path)
{
    const json_t *file = world_file(world, path);
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer) {
        const json_t *other = world_file(world, state_str(layer, "real"));

        if (file && other && json_equal(json_object_get(file, "dev"), json_object_get(other, "dev")) &&
            json_equal(json_object_get(file, "ino"), json_object_get(other, "ino")))
            return id;
    }
    return NULL;
}

/* Is what the disk will run on what it ran on before, from the top down? */
static bool start_check(const struct world *world, const json_t *state, const char *active,
                        struct err *err)
{
    const json_t *layer = state_layer(state, active), *ino = json_object_get(layer, "ino");
    const json_t *file = world_file(world, state_str(layer, "real"));

    if (!layers_check_headers(world, state, active, err) ||
        !layers_check_foreign(world, state, active, err))
        return false;
    if (!ino || json_equal(ino, json_object_get(file, "ino")))
        return true;
    err_set(err, REASON_IMAGE_CHANGED, "The image '%s' was replaced since the VM ran on it: put that one "
            "back", state_str(layer, "real"));
    err_name(err, "file", state_str(layer, "real"));
    return false;
}

/* Decides about one disk of the command line: on which layer it starts, or none of ours. */
static bool start_disk(const struct world *world, const json_t *state, const struct args_disk *disk,
                       json_t *actives, struct err *err)
{
    const json_t *record = state_disk(state, disk->key);
    const char *named = disk->path ? start_layer_at(world, state, disk->path) : NULL;
    const char *active = state_str(record, "active");

    if (!named || disk->read_only)
        return true; /* an image that is not on record, or one that nobody writes to */
    if (record && strcmp(named, state_str(record, "base")) == 0) {
        json_object_set_new(actives, disk->key, json_string(active));
        return start_check(world, state, active, err);
    }
    if (state_layer_active_of(state, named) && state_layer_children(state, named, NULL) == 0)
        return start_check(world, state, named, err);
    err_set(err, REASON_CHAIN_MISMATCH, "The command line names '%s' for disk '%s': on record it is a "
            "layer that other images stand on, and writing to it would destroy them; name the image "
            "that the VM began with", disk->path, disk->key);
    err_name(err, "file", disk->path);
    return false;
}

char **planner_start(const struct world *world, const json_t *state, struct err *err)
{
    json_t *actives = json_object();
    char **argv = NULL;
    bool ok = true;

    for (size_t i = 0; ok && i < world->args_disks->n; i++)
        ok = start_disk(world, state, &world->args_disks->v[i], actives, err);
    if (ok && json_object_size(actives) == 0)
        argv = args_render(world->args); /* nothing of ours: as the user wrote it */
    else if (ok)
        argv = layers_rewrite(world->args, state, actives, LAYERS_RUN, NULL, NULL, err);
    json_decref(actives);
    return argv;
}
