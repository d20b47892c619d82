/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/frozen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/jobs.h"
#include "qmp/splice.h"

static bool frozen_same_file(const struct stat *file, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
}

/* The path of the layer that something stands on, or that a snapshot keeps, and that is this file. */
static const char *frozen_layer(const json_t *state, const char *path)
{
    struct stat file;
    const char *id;
    json_t *layer;

    if (json_object_size(json_object_get(state, "layers")) == 0 || stat(path, &file) < 0)
        return NULL;
    json_object_foreach(json_object_get(state, "layers"), id, layer)
        if ((state_layer_named(state, id, NULL) || state_layer_children(state, id, NULL) > 0) &&
            frozen_same_file(&file, state_str(layer, "real")))
            return state_str(layer, "real");
    return NULL;
}

/* The same for a node's options, and for those written inside them. */
static const char *frozen_opened(const json_t *state, const json_t *options)
{
    const char *name = state_str(options, "filename"), *key, *found = NULL;
    json_t *child;

    if (json_is_true(json_object_get(options, "read-only")))
        return NULL;
    if (name)
        found = frozen_layer(state, name);
    json_object_foreach((json_t *)options, key, child)
        if (!found && json_is_object(child) && strcmp(key, "backing") != 0)
            found = frozen_opened(state, child);
    return found;
}

/* Our overlays above the node, of the disk that it belongs to, from the top down.  Those that are in use
 * QEMU does not close. */
static void frozen_close_above(struct daemon *daemon, const char *node)
{
    const json_t *state = daemon->store->state;
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(state, "disks"), key, disk) {
        json_t *chain = state_chain(state, state_str(disk, "active"), false);
        size_t end = json_array_size(chain);

        while (end > 0) {
            const char *name = state_str(
                state_layer(state, json_string_value(json_array_get(chain, end - 1))), "node");

            if (name && strcmp(name, node) == 0)
                break;
            end--;
        }
        for (size_t i = 0; i + 1 < end; i++) {
            const char *name = state_str(
                state_layer(state, json_string_value(json_array_get(chain, i))), "node");
            json_t *arguments = json_pack("{s:s?}", "node-name", name);

            if (name && jobs_is_internal(name))
                link_send_command(vm_main(daemon->vm), "blockdev-del", arguments, -1, NULL, NULL);
            json_decref(arguments);
        }
        json_decref(chain);
    }
}

bool frozen_permits(struct daemon *daemon, const struct message *message, struct err *err)
{
    bool add = strcmp(message->command, "blockdev-add") == 0;
    json_t *arguments;
    const char *path;

    if ((!add && strcmp(message->command, "blockdev-del") != 0) || message->name_long)
        return true;
    arguments = splice_arguments(message, 0);
    if (!add && state_str(arguments, "node-name") && vm_main(daemon->vm))
        frozen_close_above(daemon, state_str(arguments, "node-name"));
    path = add ? frozen_opened(daemon->store->state, arguments) : NULL;
    if (path) {
        err_set(err, REASON_CHAIN_MISMATCH, "'%s' is on record as a layer that snapshots or other images "
                "stand on, and writing to it would destroy them: open it with read-only, or revert to a "
                "snapshot that has its disk", path);
        err_name(err, "file", path);
    }
    json_decref(arguments);
    return !path;
}
