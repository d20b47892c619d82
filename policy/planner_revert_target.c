/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the new process of a revert has: the command line and the disks of the snapshot. */
#include "policy/planner_revert_internal.h"

#include <stdlib.h>
#include <string.h>

#include "policy/args_nodes.h"
#include "policy/config_args.h"
#include "policy/disks.h"
#include "policy/fit.h"
#include "policy/planner_revert_method.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

bool revert_check_unplugged(const struct revert *revert, struct err *err)
{
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(revert->after, "disks"), key, disk) {
        const char *active = state_str(disk, "active");

        if (json_object_get(state_layer(revert->after, active), "base") ||
            !disks_is_unplugged(revert->world, revert->after, key))
            continue;
        err_set(err, REASON_UNSAVED_STATE, "Disk '%s' is unplugged, so that save-as does not keep what was "
                "written to it since the last snapshot: give discard: true as well to lose that",
                state_str(disk, "device"));
        err_name(err, "disk", state_str(disk, "device"));
        return false;
    }
    return true;
}

/* Does the new process open that disk? */
static bool revert_opens(const struct revert *revert, const char *key)
{
    return args_disks_get(&revert->opens, key) != NULL;
}

/* An image, of a disk or of nothing (any more), that the new process opens as the old one has it. */
static bool revert_is_shared(const struct revert *revert, const struct args_disk *disk)
{
    return disk->path && !disk->read_only &&
           !json_object_get(json_object_get(revert->snapshot, "disks"), disk->key);
}

static bool revert_shares(const struct revert *revert)
{
    for (size_t i = 0; i < revert->opens.n; i++)
        if (revert_is_shared(revert, &revert->opens.v[i]))
            return true;
    return false;
}

/* A node locks its image as a disk does, when its disk was unplugged as well. */
static bool revert_check_nodes(const struct revert *revert, struct err *err)
{
    for (size_t i = 0; i < revert->opens.n; i++) {
        const struct args_disk *disk = &revert->opens.v[i];

        if (!disk->node_name || !revert_is_shared(revert, disk) ||
            !graph_node_find(revert->world->graph, disk->node_name))
            continue;
        err_set(err, REASON_NEEDS_REPLACE, "Node '%s' is not part of the snapshot, and two QEMU processes "
                "cannot have it open for writing at the same time: close it with blockdev-del, or give "
                "method: replace", disk->node_name);
        err_name(err, "node", disk->node_name);
        return false;
    }
    return true;
}

bool revert_check_excluded(struct revert *revert, struct err *err)
{
    const json_t *covered = json_object_get(revert->snapshot, "disks");
    struct vm_disks all;
    const char *first = NULL;

    disks_list(revert->world, &all);
    for (size_t i = 0; i < all.n && !first; i++)
        if (all.v[i].g->writable && !json_object_get(covered, all.v[i].key) &&
            revert_opens(revert, all.v[i].key))
            first = all.v[i].label;
    revert->excluded = first || revert_shares(revert);
    if (first && json_object_size(covered) == 0 && revert->memory) {
        err_set(err, REASON_IMAGE_CHANGED, "Snapshot '%s' has memory but no disk, and disk '%s' has "
                "been written to since", revert->name, first);
        err_name(err, "disk", first);
    } else if (first && !revert->memory && strcmp(revert->method, REVERT_REPLACE) != 0) {
        err_set(err, REASON_NEEDS_REPLACE, "Disk '%s' is not part of the snapshot, and two QEMU "
                "processes cannot boot with it at the same time: give method: replace", first);
        err_name(err, "disk", first);
    } else {
        disks_clear(&all);
        return revert->memory || strcmp(revert->method, REVERT_REPLACE) == 0 ||
               revert_check_nodes(revert, err);
    }
    disks_clear(&all);
    return false;
}

/* The user's command line as the snapshot has it; new. */
static struct args *revert_user_args(const struct revert *revert, struct err *err)
{
    const json_t *list = json_object_get(revert->snapshot, "args");

    if (json_array_size(list) > 0)
        return planner_parse_args(list, err);
    err_set(err, REASON_METHOD_UNAVAILABLE, "Snapshot '%s' was made without a command line: "
            "nothing can be started from it", revert->name);
    return NULL;
}

bool revert_parse_args(struct revert *revert, struct err *err)
{
    const json_t *config = json_object_get(revert->snapshot, "config");
    const char *machine = fit_machine(revert->world, revert->snapshot);
    struct args *args = revert_user_args(revert, err);
    int version[2];

    if (!args)
        return false;
    fit_version(revert->world, version);
    if (machine)
        args_set_machine(args, machine);
    revert->args = config_args(args, config, world_is_typed(version), false, err);
    args_free(args);
    if (err->set && json_array_size(config) > 0) {
        err_prefix(err, "Snapshot '%s'", revert->name);
        err_name(err, "snapshot", revert->name);
    }
    return revert->args && args_disks_find(revert->args, &revert->opens, err);
}

/* A device may have been plugged onto one of the layers by its node's name: what is meant is the disk,
 * and moved on like it. */
static bool revert_name_disk(struct revert *revert, const char *key, const char *layer,
                             struct err *err)
{
    json_t *chain = state_chain(revert->after, layer, false), *id;
    const char *node = key + strlen("node:");
    bool ok = true;
    size_t i;

    if (strncmp(key, "node:", strlen("node:")) == 0)
        json_array_foreach(chain, i, id) {
            const char *name = state_str(state_layer(revert->after, json_string_value(id)), "node");

            if (ok && name && strcmp(name, node) != 0)
                ok = args_nodes_move_users(revert->args, name, node, err);
        }
    json_decref(chain);
    return ok;
}

bool revert_disks(struct revert *revert, struct err *err)
{
    json_t *disks = json_object_get(revert->after, "disks"), *disk, *layer;
    const json_t *devices = json_object_get(revert->snapshot, "devices");
    const char *key;
    void *next;

    json_object_foreach_safe(disks, next, key, disk)
        if (!revert_opens(revert, key))
            json_object_del(disks, key);
    json_object_foreach(json_object_get(revert->snapshot, "disks"), key, layer) {
        if (!revert_name_disk(revert, key, json_string_value(layer), err))
            return false;
        if (json_object_get(devices, key))
            json_object_set_new(disks, key, planner_disk(revert->after, key,
                                                         json_object_get(devices, key),
                                                         json_string_value(layer)));
        if (state_disk(revert->after, key))
            continue;
        err_set(err, REASON_DISK_GONE, "Disk '%s' is no longer in the VM, and snapshot '%s' does not say "
                "on which device it was", key, revert->name);
        err_name(err, "disk", key);
        return false;
    }
    args_disks_clear(&revert->opens);
    if (!args_disks_find(revert->args, &revert->opens, err))
        return false;
    json_object_foreach(disks, key, disk) {
        const struct args_disk *opened = args_disks_get(&revert->opens, key);

        json_object_set(revert->actives, key, json_object_get(disk, "active"));
        if (!opened || opened->kind == ARGS_DISK_DRIVE || opened->attached)
            json_object_set(revert->attached, key, json_object_get(disk, "active"));
    }
    return true;
}
