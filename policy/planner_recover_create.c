/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an interrupted create has left, while QEMU runs on.
 *
 * Rule: an overlay that may hold what the guest has written is kept.  It is dropped only where a disk is seen to
 * run without it, or where QEMU does not even have it open; that no disk is there at all proves nothing, as a device
 * may have gone since.
 */
#include <string.h>

#include "policy/disks.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_recover_internal.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

json_t *planner_adopted(const json_t *plan, const json_t *state)
{
    json_t *adopted = json_deep_copy(json_object_get(plan, "after")), *id;
    const json_t *snapshot = state_snapshot(adopted, state_str(plan, "name"));
    const char *key;

    /* Where the create was being taken back something has been written to what it had frozen. */
    json_object_foreach(json_object_get(snapshot, "disks"), key, id)
        if (!json_object_get(state_layer(state, json_string_value(id)), "print"))
            json_object_del(state_layer(adopted, json_string_value(id)), "print");
    state_snapshot_remove(adopted, state_str(plan, "name"));
    json_object_set(adopted, "current", json_object_get(state, "current"));
    return adopted;
}

/* Is it an overlay that the create makes, and that the record does not have? */
static bool create_is_new(const struct recovery *recovery, const char *id, const json_t *layer)
{
    return !state_layer(recovery->state, id) && state_str(layer, "node") && !json_object_get(layer, "base");
}

static bool create_is_there(const struct recovery *recovery, const char *key)
{
    struct vm_disks all;
    bool there;

    disks_list(recovery->world, &all);
    there = disks_find(&all, key) != NULL;
    disks_clear(&all);
    return there;
}

/* Is the overlay one that the disk of that key may run on? */
static bool create_keeps(const struct recovery *recovery, const char *key, const json_t *layer)
{
    return recovery_runs_on(recovery, layer) ||
           (!create_is_there(recovery, key) && recovery_node_exists(recovery, state_str(layer, "node")));
}

static bool create_keeps_any(const struct recovery *recovery)
{
    const json_t *after = json_object_get(recovery->old, "after");
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(after, "disks"), key, disk) {
        const char *id = state_str(disk, "active");
        const json_t *layer = state_layer(after, id);

        if (create_is_new(recovery, id, layer) && create_keeps(recovery, key, layer))
            return true;
    }
    return false;
}

static void create_drop_overlays(struct recovery *recovery)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        const json_t *arguments = json_object_get(json_object_get(step, "command"), "arguments");
        const char *name = state_str(step, "step");

        if (strcmp(name, "blockdev-add") == 0 &&
            recovery_node_exists(recovery, state_str(arguments, "node-name")))
            plan_add(recovery->plan, json_deep_copy(json_array_get(json_object_get(step, "undo"),
                                                                   0)));
    }
    recovery_undo_of(recovery, "overlay-create");
}

/* Appends an overlay's file, and its node where QEMU has it. */
static void create_discard(const struct recovery *recovery, const json_t *layer, json_t *files, json_t *nodes)
{
    json_array_append(files, json_object_get(layer, "real"));
    if (recovery_node_exists(recovery, state_str(layer, "node")))
        json_array_append(nodes, json_object_get(layer, "node"));
}

/* Those that disks have left again: what such a disk is back on is its active layer, and has no
 * fingerprint; the overlay is of no use. */
static void create_returned(const struct recovery *recovery, json_t *adopted, json_t *files, json_t *nodes)
{
    json_t *disk;
    const char *key;

    json_object_foreach(json_object_get(adopted, "disks"), key, disk) {
        const char *id = state_str(disk, "active");
        json_t *layer = state_layer(adopted, id), *parent = json_object_get(layer, "parent");

        if (!create_is_new(recovery, id, layer) || create_keeps(recovery, key, layer))
            continue;
        create_discard(recovery, layer, files, nodes);
        json_object_del(state_layer(adopted, json_string_value(parent)), "print");
        json_incref(layer);
        json_object_del(json_object_get(adopted, "layers"), id);
        json_object_set(disk, "active", parent);
        json_decref(layer);
    }
}

/* Steals both. */
static void create_remove(struct recovery *recovery, json_t *files, json_t *nodes)
{
    json_t *node;
    size_t i;

    json_array_foreach(nodes, i, node) /* what is open is not removed */
        plan_add(recovery->plan, step_lenient(planner_close_node(json_string_value(node))));
    plan_add(recovery->plan,
             step_lenient(step_deed("files-remove", NULL, json_pack("{s:o}", "files", files))));
    json_decref(nodes);
}

/* The overlays that disks are on stay, as layers without a name. */
static void create_adopt(struct recovery *recovery)
{
    json_t *adopted = planner_adopted(recovery->old, recovery->state);
    json_t *files = json_array(), *nodes = json_array();
    bool early;

    create_returned(recovery, adopted, files, nodes);
    /* The journal says as much as the record will: the guest need not wait for room. */
    early = json_is_true(json_object_get(recovery->old, "adopt")) && json_array_size(files) == 0;
    if (early)
        recovery_cont(recovery);
    plan_add(recovery->plan,
             step_deed("state-write", NULL, json_pack("{s:o}", "state", adopted)));
    create_remove(recovery, files, nodes);
    if (!early)
        recovery_cont(recovery);
}

/* A recovery has written that record already, and was interrupted itself. */
static void create_was_adopted(struct recovery *recovery)
{
    json_t *files = json_array(), *nodes = json_array(), *layer;
    const char *id;

    json_object_foreach(json_object_get(json_object_get(recovery->old, "after"), "layers"), id, layer)
        if (create_is_new(recovery, id, layer))
            create_discard(recovery, layer, files, nodes);
    create_remove(recovery, files, nodes);
    recovery_cont(recovery);
}

void recovery_create(struct recovery *recovery)
{
    recovery_cancel_migrate(recovery);
    if (state_is_after(recovery->state, json_object_get(recovery->old, "after"))) {
        create_was_adopted(recovery);
    } else if (create_keeps_any(recovery)) {
        create_adopt(recovery);
    } else {
        recovery_cont(recovery);
        create_drop_overlays(recovery);
    }
    recovery_undo_of(recovery, "getfd");
    recovery_undo_of(recovery, "migrate-capabilities");
    recovery_undo_of(recovery, "migrate-parameters");
    recovery_undo_of(recovery, "memory-create");
    recovery_undo_of(recovery, "vmstate-open");
    recovery_undo_of(recovery, "vmstate-create");
}
