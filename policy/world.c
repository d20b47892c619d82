/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/world.h"

#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/config_args.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

const json_t *world_file(const struct world *world, const char *path)
{
    const json_t *entry = json_object_get(world->files, path);

    return json_is_true(json_object_get(entry, "exists")) ? entry : NULL;
}

const char *world_status(const struct world *world)
{
    const char *status = state_str(world->status, "status");

    return status ? status : "unknown";
}

json_t *world_read_capabilities(const json_t *list)
{
    json_t *out = json_object();
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)list, i, item)
        if (state_str(item, "capability"))
            json_object_set(out, state_str(item, "capability"), json_object_get(item, "state"));
    return out;
}

json_t *world_read_devices(const json_t *list)
{
    json_t *out = json_object();
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)list, i, item)
        if (state_str(item, "name") && state_str(item, "type") &&
            strncmp(state_str(item, "type"), "child<", 6) == 0)
            json_object_set_new(out, state_str(item, "name"), json_true());
    return out;
}

const struct args *world_command_line(const struct world *world)
{
    return world->args_now ? world->args_now : world->args;
}

bool world_is_typed(const int version[2])
{
    return version[0] > 9 || (version[0] == 9 && version[1] >= 2);
}

void world_take_config(struct world *world, const json_t *config)
{
    json_t *now = config_now(config, world->args, world->devices, world->places);
    struct err err = ERR_INIT;

    if (world->args && json_array_size(now) > 0) {
        world->args_now = config_args(world->args, now, world_is_typed(world->version), true, &err);
        world->args_now_disks = alloc_zeroed(1, sizeof(*world->args_now_disks));
        if (args_disks_find(world->args_now, world->args_now_disks, &err)) {
            world->args_disks = world->args_now_disks;
        } else {
            /* Text that QEMU has taken, and that cannot be read: as if it were not there. */
            args_free(world->args_now);
            world->args_now = NULL;
            free(world->args_now_disks);
            world->args_now_disks = NULL;
        }
    }
    err_clear(&err);
    json_decref(now);
}

void world_clear(struct world *world)
{
    args_free(world->args_now);
    if (world->args_now_disks)
        args_disks_clear(world->args_now_disks);
    free(world->args_now_disks);
    json_decref(world->devices);
    json_decref(world->places);
    json_decref(world->drives);
    json_decref(world->anonymous);
    graph_free(world->graph);
    json_decref(world->record);
    json_decref(world->status);
    json_decref(world->jobs);
    json_decref(world->memory_size);
    json_decref(world->capabilities);
    json_decref(world->parameters);
    json_decref(world->migration);
    json_decref(world->files);
    json_decref(world->rooms);
    json_decref(world->open);
    json_decref(world->fit);
    json_decref(world->program);
    memset(world, 0, sizeof(*world));
}

bool world_check_migratable(const struct world *world, struct err *err)
{
    const json_t *reasons = json_object_get(world->migration, "blocked-reasons");
    const char *first = json_string_value(json_array_get(reasons, 0));

    if (!first)
        return true;
    err_set(err, REASON_MIGRATION_BLOCKED, "QEMU cannot save the memory of this VM: %s; use memory: none, "
            "or take that out", first);
    return false;
}

char *world_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return alloc_copy(".");
    return alloc_copy_n(path, slash == path ? 1 : (size_t)(slash - path));
}
