/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/planner_layers.h"
#include "policy/state.h"

static json_t *info_disks(const json_t *state, const json_t *snapshot)
{
    json_t *disks = json_array();
    const char *key;
    json_t *id;

    json_object_foreach(json_object_get(snapshot, "disks"), key, id) {
        const json_t *layer = state_layer(state, json_string_value(id));
        const char *device = state_str(state_disk(state, key), "device");

        json_array_append_new(disks, json_pack("{s:s, s:O*, s:O, s:O}", "device",
                                               device ? device : key, "node-name",
                                               json_object_get(layer, "node"), "image",
                                               json_object_get(layer, "real"), "format",
                                               json_object_get(layer, "format")));
    }
    return disks;
}

json_t *info_snapshot(const json_t *state, const json_t *snapshot, const char *operation,
                      json_t *problems)
{
    const char *name = state_str(snapshot, "name"), *parent = state_str(snapshot, "parent");
    const char *current = state_str(state, "current");
    const json_t *memory = json_object_get(snapshot, "memory");
    json_int_t created = json_integer_value(json_object_get(snapshot, "created"));
    json_t *info = json_pack(
        "{s:s, s:s*, s:o, s:b, s:O*, s:{s:I, s:I}, s:O, s:O, s:o, s:s*, s:o}", "name", name,
        "parent", parent, "children", state_children(state, name), "current",
        current && strcmp(current, name) == 0, "description",
        json_object_get(snapshot, "description"), "created", "seconds", created / 1000000,
        "microseconds", created % 1000000, "run-state", json_object_get(snapshot, "run-state"),
        "origin", json_object_get(snapshot, "origin"), "disks", info_disks(state, snapshot),
        "operation", operation, "problems", problems);

    if (!info)
        abort();
    if (memory)
        json_object_set_new(info, "memory",
                            json_pack("{s:O, s:O, s:I}", "format", json_object_get(memory, "format"),
                                      "file", json_object_get(memory, "file"), "size",
                                      json_integer_value(json_object_get(memory, "size"))));
    return info;
}

static void info_check_layers(const json_t *state, const json_t *snapshot, const json_t *files,
                              json_t *problems)
{
    struct world world = { .files = (json_t *)files };
    const char *key;
    json_t *id;

    json_object_foreach(json_object_get(snapshot, "disks"), key, id) {
        struct err err = ERR_INIT;
        const char *layer = json_string_value(id);

        if (!layers_check_headers(&world, state, layer, &err) ||
            !layers_check_foreign(&world, state, layer, &err) ||
            !disks_check_frozen(&world, state, layer, &err)) {
            json_array_append_new(problems, json_string(err.desc));
            err_clear(&err);
        }
    }
}

json_t *info_problems(const json_t *state, const json_t *snapshot, const json_t *files)
{
    json_t *problems = json_array();
    const json_t *memory = json_object_get(snapshot, "memory");
    const char *path = state_str(memory, "file");

    if (json_is_true(json_object_get(snapshot, "deleting")))
        json_array_append_new(problems, json_string("It is being deleted: delete it again to "
                                                    "finish"));
    if (json_object_get(snapshot, "damaged"))
        json_array_append(problems, json_object_get(snapshot, "damaged"));
    info_check_layers(state, snapshot, files, problems);
    if (path) {
        const json_t *file = json_object_get(files, path);
        char text[512];

        if (!json_is_true(json_object_get(file, "exists")))
            snprintf(text, sizeof(text), "The saved memory '%.300s' is missing", path);
        else if (!json_equal(json_object_get(file, "size"), json_object_get(memory, "size")))
            snprintf(text, sizeof(text), "The saved memory '%.300s' is cut short or altered", path);
        else
            return problems;
        json_array_append_new(problems, json_string(text));
    }
    return problems;
}
