/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/world.h"

#include <stdlib.h>
#include <string.h>

#include "policy/state.h"

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

void world_clear(struct world *world)
{
    graph_free(world->graph);
    json_decref(world->record);
    json_decref(world->status);
    json_decref(world->jobs);
    json_decref(world->memory_size);
    json_decref(world->capabilities);
    json_decref(world->parameters);
    json_decref(world->files);
    json_decref(world->rooms);
    json_decref(world->open);
    memset(world, 0, sizeof(*world));
}

char *world_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));

    if (!dir)
        abort();
    return dir;
}
