/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/recover_look.h"

#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"

bool recover_look_at(struct daemon *daemon, const json_t *state, struct world *world,
                     struct err *err)
{
    json_t *paths, *found = NULL;
    bool ok;

    collect_static(daemon, world);
    paths = collect_paths(world, state);
    ok = deed_inspect(paths, &found, err);
    world->files = json_incref(json_object_get(found, "files"));
    json_decref(paths);
    json_decref(found);
    return ok;
}

bool recover_look_images(const struct world *world, const json_t *before, const json_t *after,
                         struct err *err)
{
    const char *key;
    json_t *disk, *id;
    size_t i;

    json_object_foreach(json_object_get(after, "disks"), key, disk) {
        json_t *chain = state_chain(after, state_str(disk, "active"), true);

        json_array_foreach(chain, i, id) {
            const json_t *layer = state_layer(after, json_string_value(id));
            const char *real = state_str(layer, "real");
            bool old = state_layer(before, json_string_value(id)) ||
                       json_object_get(layer, "base") || json_object_get(layer, "foreign");

            if (!old || err->set || world_file(world, real))
                continue;
            err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", real);
            err_name(err, "file", real);
        }
        json_decref(chain);
    }
    return !err->set;
}

bool recover_look_overlays(const struct world *world, const json_t *before, const json_t *after)
{
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(after, "disks"), key, disk) {
        const char *id = state_str(disk, "active");

        if (!state_layer(before, id) && !world_file(world, state_str(state_layer(after, id), "real")))
            return false;
    }
    return true;
}

bool recover_look_beside(const struct world *world, const json_t *before, const char *file, struct err *err)
{
    char *folder = world_dirname(file);
    const char *missing = NULL, *id;
    bool found = false;
    json_t *layer;

    json_object_foreach(json_object_get(before, "layers"), id, layer) {
        const char *real = state_str(layer, "real");
        char *dir = world_dirname(real);

        if (strcmp(dir, folder) == 0 && world_file(world, real))
            found = true;
        else if (strcmp(dir, folder) == 0)
            missing = real;
        free(dir);
    }
    free(folder);
    if (found || !missing)
        return true;
    err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", missing);
    err_name(err, "file", missing);
    return false;
}
