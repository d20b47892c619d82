/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A recovery that finds another QEMU than the one that the interrupted operation worked on: a foreign one that was
 * started anew by whoever owns it, on images of his choice.  It has no jobs, nodes or settings of ours, and whether
 * it runs is not for us to say; which of the operation's images are used its disks tell, by their files.
 *
 * Which process it is says the monitor's socket (world.other).  Where that says nothing, as over TCP, it is
 * known by what cannot be otherwise: a guest that was running has not got back to before its start, and an image
 * of ours that a disk runs on has our node in the QEMU that we had added it to.
 */
#include <string.h>

#include "policy/plan.h"
#include "policy/planner_recover_internal.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

static bool recovery_has_file(const struct recovery *recovery, const json_t *layer)
{
    const struct graph *graph = recovery->world->graph;
    const char *real = state_str(layer, "real"), *found;

    for (size_t i = 0; graph && i < graph->n_disks; i++) {
        if (graph->disks[i].n_chain == 0)
            continue;
        found = state_str(world_file(recovery->world, graph->disks[i].chain[0].file), "real");
        if (found && real && strcmp(found, real) == 0)
            return true;
    }
    return false;
}

static bool recovery_has_node(const struct recovery *recovery, const json_t *layer)
{
    const struct graph *graph = recovery->world->graph;
    const char *node = state_str(layer, "node");

    /* On top, or below what somebody else has put there since. */
    for (size_t i = 0; graph && node && i < graph->n_disks; i++)
        if (graph_chain_index(&graph->disks[i], node) >= 0)
            return true;
    return graph && node && graph_disk_by_node(graph, node);
}

bool recovery_runs_on(const struct recovery *recovery, const json_t *layer)
{
    return recovery_has_node(recovery, layer) || recovery_has_file(recovery, layer);
}

/* Is the layer an overlay that the plan makes? */
static bool recovery_is_new(const struct recovery *recovery, const char *id)
{
    const json_t *layer = state_layer(json_object_get(recovery->old, "after"), id);

    return !state_layer(recovery->state, id) && state_str(layer, "node") && !json_object_get(layer, "base");
}

/* Does a disk run on an overlay of the plan that is not there under our name? */
static bool recovery_was_renamed(const struct recovery *recovery)
{
    const json_t *after = json_object_get(recovery->old, "after");
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(after, "layers"), id, layer)
        if (recovery_is_new(recovery, id) && recovery_has_file(recovery, layer) &&
            !recovery_has_node(recovery, layer))
            return true;
    return false;
}

bool recovery_is_other(const struct recovery *recovery)
{
    const char *method = state_str(recovery->old, "method");

    if (method && strcmp(method, "in-place") != 0)
        return false; /* it is to become another one */
    if (recovery->world->other)
        return true;
    if (!recovery->world->graph)
        return false;
    return (json_is_true(json_object_get(recovery->old, "running")) &&
            strcmp(world_status(recovery->world), "prelaunch") == 0) || recovery_was_renamed(recovery);
}

/* Do all disks that the plan gives an overlay run on it? */
static bool recovery_took_all(const struct recovery *recovery)
{
    const json_t *after = json_object_get(recovery->old, "after");
    const char *key;
    json_t *disk;
    bool any = false;

    json_object_foreach(json_object_get(after, "disks"), key, disk) {
        const char *id = state_str(disk, "active");

        if (!recovery_is_new(recovery, id))
            continue;
        if (!recovery_runs_on(recovery, state_layer(after, id)))
            return false;
        any = true;
    }
    return any;
}

void recovery_other_in_place(struct recovery *recovery)
{
    if (recovery_took_all(recovery)) {
        recovery_finish(recovery);
        return;
    }
    /* What a disk runs on all the same is in use, and stays (proxy/in_use.h). */
    recovery_undo_of(recovery, "vmstate-create");
    recovery_undo_of(recovery, "overlay-create");
}
