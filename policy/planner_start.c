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

static bool start_has_print(const json_t *file, const json_t *print)
{
    static const char *const members[] = { "size", "mtime", "dev", "ino" };
    bool same = file && print;

    for (size_t i = 0; same && i < 4; i++)
        same = json_equal(json_object_get(file, members[i]), json_object_get(print, members[i]));
    return same;
}

/* The frozen layer whose file is now at path, wherever it was before; or NULL.  An inode alone may be that of a file
 * that was made since. */
static const char *start_layer_moved(const struct world *world, const json_t *state, const char *path)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer)
        if (start_has_print(world_file(world, path), json_object_get(layer, "print")))
            return id;
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

/* An image that is not on record.  Where the VM has gone on to other layers it would boot what was long ago,
 * and write to what they stand on, if it is but the old image in another place. */
static bool start_unknown(const struct world *world, const json_t *state, const struct args_disk *disk,
                          struct err *err)
{
    const json_t *record = state_disk(state, disk->key);
    const char *moved = disk->path ? start_layer_moved(world, state, disk->path) : NULL;
    const char *base = state_str(record, "base");

    if (!moved && (!disk->path || !record || strcmp(state_str(record, "active"), base) == 0))
        return true;
    base = state_str(state_layer(state, moved ? moved : base), "real");
    if (moved)
        err_set(err, REASON_CHAIN_MISMATCH, "The command line names '%s' for disk '%s': on record that image is "
                "'%s', on which snapshots stand: put the images back to where they were", disk->path,
                disk->key, base);
    else
        err_set(err, REASON_CHAIN_MISMATCH, "The command line names '%s' for disk '%s', which on record began with "
                "'%s' and has gone on to other layers: name that one, or, for another image, give the disk "
                "another id or the VM another name (-n)", disk->path, disk->key, base);
    err_name(err, "file", disk->path);
    return false;
}

/* The last snapshot that has the disk on that layer or above it, while the VM itself has gone back to one that has not;
 * or NULL. */
static const char *start_snapshot_with(const json_t *state, const char *key, const char *layer)
{
    const char *name = NULL;
    json_t *snapshot;
    size_t i;

    if (state_disk(state, key))
        return NULL;
    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        const char *id = state_str(json_object_get(snapshot, "disks"), key);
        json_t *chain = id ? state_chain(state, id, false) : NULL;

        if (state_list_has(chain, layer))
            name = state_str(snapshot, "name");
        json_decref(chain);
    }
    return name;
}

static void start_refuse(const json_t *state, const struct args_disk *disk, const char *named, struct err *err)
{
    const char *with = start_snapshot_with(state, disk->key, named);

    if (with)
        err_set(err, REASON_CHAIN_MISMATCH, "The command line names '%s' for disk '%s', which the VM has not had since "
                "its last revert, and snapshots stand on that image: start it without that disk, and revert to '%s', "
                "which has it", disk->path, disk->key, with);
    else
        err_set(err, REASON_CHAIN_MISMATCH, "The command line names '%s' for disk '%s': on record it is a "
                "layer that other images stand on, and writing to it would destroy them; name the image "
                "that the VM began with", disk->path, disk->key);
    err_name(err, "file", disk->path);
    if (with)
        err_name(err, "snapshot", with);
}

/* Decides about one disk of the command line: on which layer it starts, or none of ours. */
static bool start_disk(const struct world *world, const json_t *state, const struct args_disk *disk,
                       json_t *actives, struct err *err)
{
    const json_t *record = state_disk(state, disk->key);
    const char *named = disk->path ? start_layer_at(world, state, disk->path) : NULL;
    const char *active = state_str(record, "active");

    if (disk->read_only)
        return true; /* nobody writes to it */
    if (!named)
        return start_unknown(world, state, disk, err);
    if (record && strcmp(named, state_str(record, "base")) == 0) {
        json_object_set_new(actives, disk->key, json_string(active));
        return start_check(world, state, active, err);
    }
    if (state_layer_active_of(state, named) && state_layer_children(state, named, NULL) == 0)
        return start_check(world, state, named, err);
    start_refuse(state, disk, named, err);
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

bool planner_start_spares(const struct world *world, const json_t *state, const json_t *other,
                          const char *folder, struct err *err)
{
    for (size_t i = 0; i < world->args_disks->n; i++) {
        const struct args_disk *disk = &world->args_disks->v[i];
        const char *id;

        if (!disk->path || disk->read_only || disk->snapshot || start_layer_at(world, state, disk->path))
            continue;
        id = start_layer_moved(world, other, disk->path);
        if (!id || json_object_get(state_layer(other, id), "foreign") ||
            (!state_layer_named(other, id, NULL) && state_layer_children(other, id, NULL) == 0))
            continue;
        err_set(err, REASON_CHAIN_MISMATCH, "Writing to '%s' would destroy the snapshots of another VM, or of this "
                "one under another name, whose state folder is '%s': start that one with -n or -d",
                disk->path, folder);
        err_name(err, "file", disk->path);
        return false;
    }
    return true;
}
