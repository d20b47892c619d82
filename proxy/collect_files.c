/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect_internal.h"

#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/planner.h"
#include "policy/state.h"
#include "proxy/deeds.h"

static void collect_add_path(json_t *files, json_t *folders, const char *path, bool folder)
{
    char *dir = world_dirname(path);

    json_array_append_new(files, json_string(path));
    if (folder)
        json_array_append_new(folders, json_string(dir));
    free(dir);
}

json_t *collect_paths(const struct world *world, const json_t *state)
{
    json_t *files = planner_files(state), *folders = json_array();
    json_t *path;
    size_t i;

    json_array_foreach(files, i, path) {
        char *dir = world_dirname(json_string_value(path));

        json_array_append_new(folders, json_string(dir));
        free(dir);
    }
    json_array_append_new(folders, json_string(world->memory_dir));
    for (i = 0; world->args_disks && i < world->args_disks->n; i++)
        if (world->args_disks->v[i].path)
            collect_add_path(files, folders, world->args_disks->v[i].path, true);
    for (i = 0; world->graph && i < world->graph->n_disks; i++)
        for (size_t k = 0; k < world->graph->disks[i].n_chain; k++)
            collect_add_path(files, folders, world->graph->disks[i].chain[k].file, true);
    return json_pack("{s:o, s:o}", "files", files, "folders", folders);
}

static bool collect_on_record(const json_t *state, const char *file)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer)
        if (strcmp(state_str(layer, "path"), file) == 0 || strcmp(state_str(layer, "real"), file) == 0)
            return true;
    return false;
}

/* new: overlays that somebody else has made, and that may come into the record now.  QEMU does not see to
 * it that a new image, and its name, are found behind a power cut. */
static json_t *collect_unsynced(const struct world *world, const json_t *state)
{
    json_t *files = json_array();

    for (size_t i = 0; world->graph && i < world->graph->n_disks; i++) {
        const struct graph_disk *disk = &world->graph->disks[i];

        for (size_t k = 0; disk->writable && k + 1 < disk->n_chain; k++)
            if (!collect_on_record(state, disk->chain[k].file))
                json_array_append_new(files, json_string(disk->chain[k].file));
    }
    return files;
}

/* The folder of a disk that was named by a relative path is asked for by its real path too. */
static json_t *collect_more_folders(const json_t *files)
{
    json_t *folders = json_array(), *none = json_array();
    const char *path;
    json_t *entry;

    json_object_foreach((json_t *)files, path, entry)
        if (state_str(entry, "real"))
            collect_add_path(none, folders, state_str(entry, "real"), true);
    json_decref(none);
    return json_pack("{s:[], s:o}", "files", "folders", folders);
}

static void collect_rooms_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct collect *collect = arg;
    struct world world = collect->world;

    if (!ok && !collect->err.set)
        err_move(&collect->err, err);
    if (collect->cancelled || collect->err.set) {
        collect_fail(collect);
        return;
    }
    json_object_update(world.rooms, json_object_get(result, "rooms"));
    memset(&collect->world, 0, sizeof(collect->world));
    collect->cb(collect->arg, true, &world, NULL);
    collect_free(collect);
}

/* A process that has none of the images open is not QEMU itself, but something that started it. */
static void collect_doubt_open(struct world *world)
{
    bool any = false;

    for (size_t i = 0; world->open && i < world->graph->n_disks; i++)
        for (size_t k = 0; k < world->graph->disks[i].n_chain; k++)
            any = any || disks_is_open(world, world->graph->disks[i].chain[k].file);
    if (any)
        return;
    json_decref(world->open);
    world->open = NULL;
}

static void collect_files_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct collect *collect = arg;
    json_t *more;

    if (!ok)
        err_move(&collect->err, err);
    collect->world.files = json_incref(json_object_get(result, "files"));
    collect->world.rooms = json_incref(json_object_get(result, "rooms"));
    collect->world.open = json_incref(json_object_get(result, "open"));
    collect_doubt_open(&collect->world);
    collect_fit_program(&collect->world, json_object_get(result, "program"));
    more = collect_more_folders(collect->world.files);
    worker_run(collect->daemon->worker, deed_inspect, more, collect_rooms_cb, collect);
    json_decref(more);
}

void collect_inspect(struct collect *collect)
{
    json_t *paths = collect_paths(&collect->world, collect->state);

    if (collect->world.graph && vm_has_process(collect->daemon->vm))
        json_object_set_new(paths, "pid", json_integer(vm_pid(collect->daemon->vm)));
    json_object_set_new(paths, "sync", collect_unsynced(&collect->world, collect->state));
    collect_fit_ask(&collect->world, collect->program_of, paths);
    worker_run(collect->daemon->worker, deed_inspect, paths, collect_files_cb, collect);
    json_decref(paths);
}
