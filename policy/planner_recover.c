/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an interrupted operation leaves behind while QEMU runs on: from the journal and the world to
 * a plan that settles it.  Nothing is guessed: QEMU's graph says whether the disks have moved.  The
 * plan only goes forward, and can be made anew from the same journal when it is interrupted itself.
 */
#include <string.h>

#include "policy/disks.h"
#include "policy/fitting.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_delete_side.h"
#include "policy/planner_inplace.h"
#include "policy/planner_revert_method.h"
#include "policy/planner_recover_internal.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"

/* Jobs of the operation's own steps.  One that was told to end does so at some moment until it is gone,
 * so that where the disks are can only be told behind that.  True: there are some. */
static bool recovery_end_jobs(struct recovery *recovery)
{
    bool any = false;
    json_t *job;
    size_t i;

    json_array_foreach(recovery->world->jobs, i, job) {
        const char *id = state_str(job, "id");

        if (recovery->other || !id || strncmp(id, "qsnap-", 6) != 0)
            continue;
        plan_add(recovery->plan, planner_cancel_job(id));
        /* A stream is gone by then (planner_delete_steps.c). */
        plan_add(recovery->plan, step_lenient(planner_dismiss_job(id)));
        any = true;
    }
    return any;
}

void recovery_cont(struct recovery *recovery)
{
    if (!recovery->other && json_is_true(json_object_get(recovery->old, "running")) &&
        strcmp(world_status(recovery->world), "running") != 0)
        plan_add(recovery->plan, planner_cont_back());
}

void recovery_undo_of(struct recovery *recovery, const char *name)
{
    json_t *step, *undo;
    size_t i, k;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        if (strcmp(state_str(step, "step"), name) != 0)
            continue;
        json_array_foreach(json_object_get(step, "undo"), k, undo)
            if (!recovery->other || strcmp(state_str(undo, "on"), "host") == 0)
                plan_add(recovery->plan, json_deep_copy(undo));
    }
}

bool recovery_node_exists(const struct recovery *recovery, const char *node)
{
    return !recovery->other && node && graph_node_find(recovery->world->graph, node) != NULL;
}

void recovery_cancel_migrate(struct recovery *recovery)
{
    if (!recovery->other && plan_has_step(recovery->old, "migrate"))
        plan_add(recovery->plan,
                 step_lenient(step_command("migrate-cancel", "qemu", NULL, "migrate_cancel", NULL,
                                           json_pack("{s:s}", "is", "any"))));
}

static bool recovery_fits(void *arg, const json_t *state)
{
    const struct recovery *recovery = arg;
    struct vm_disks all;
    struct err err = ERR_INIT;
    const char *key;
    json_t *disk;
    bool ok = true;

    disks_list(recovery->world, &all);
    json_object_foreach(json_object_get(state, "disks"), key, disk) {
        const struct vm_disk *found = disks_find(&all, key);

        if (!found && disks_is_unplugged(recovery->world, state, key))
            continue;
        ok = ok && found && disks_match_record(recovery->world, state, found, &err);
    }
    disks_clear(&all);
    err_clear(&err);
    return ok;
}

/* Does the record name the file, as a layer or as saved memory? */
static bool recovery_file_needed(const json_t *state, const char *file)
{
    const char *id, *memory;
    json_t *object;
    size_t i;

    json_object_foreach(json_object_get(state, "layers"), id, object)
        if (strcmp(state_str(object, "real"), file) == 0)
            return true;
    json_array_foreach(json_object_get(state, "snapshots"), i, object) {
        memory = state_str(json_object_get(object, "memory"), "file");
        if (memory && strcmp(memory, file) == 0)
            return true;
    }
    return false;
}

json_t *planner_unneeded(const json_t *plan, const json_t *state)
{
    json_t *files = json_array();
    json_t *step, *file;
    size_t i, k;

    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        if (strcmp(state_str(step, "step"), "files-remove") != 0)
            continue;
        json_array_foreach(json_object_get(json_object_get(step, "args"), "files"), k, file)
            if (!recovery_file_needed(state, json_string_value(file)))
                json_array_append(files, file);
    }
    return files;
}

static bool recovery_is_side(const struct graph_node *node)
{
    return node && strncmp(node->name, DELETE_SIDE_PREFIX, sizeof(DELETE_SIDE_PREFIX) - 1) == 0;
}

/* Children that were merged: their nodes and files.  Side branches are closed already. */
static void recovery_drop_merged(struct recovery *recovery, const json_t *fitting)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        const json_t *arguments = json_object_get(json_object_get(step, "command"), "arguments");
        const char *name = state_str(arguments, "node-name");
        const struct graph_node *node = name ? graph_node_find(recovery->world->graph, name) : NULL;

        if (!recovery->other && strcmp(state_str(step, "step"), "blockdev-del") == 0 && node &&
            !recovery_is_side(node))
            plan_add(recovery->plan, step_lenient(json_deep_copy(step))); /* it may be in use */
    }
    plan_add(recovery->plan,
             step_lenient(step_deed("files-remove", NULL,
                                    json_pack("{s:o}", "files",
                                              planner_unneeded(recovery->old, fitting)))));
}

/* A branch that was open for a merge: from the top down, since a node goes when nothing stands on it. */
static void recovery_close_side(struct recovery *recovery)
{
    const struct graph *graph = recovery->world->graph;

    for (size_t i = 0; !recovery->other && i < graph->n_nodes; i++) {
        const struct graph_node *node = &graph->nodes[i];
        bool top = recovery_is_side(node);

        for (size_t k = 0; top && k < graph->n_nodes; k++)
            if (recovery_is_side(&graph->nodes[k]) &&
                graph_child_find(&graph->nodes[k], "backing") == node)
                top = false;
        for (; top && recovery_is_side(node); node = graph_child_find(node, "backing"))
            plan_add(recovery->plan, step_lenient(planner_close_node(node->name)));
    }
}

/* The record follows the images: before it is written, they are on the disk. */
static void recovery_record(struct recovery *recovery, const json_t *fitting)
{
    json_t *steps = fitting_steps(fitting, recovery->state), *step;
    size_t i;

    json_array_foreach(steps, i, step)
        plan_add(recovery->plan, json_incref(step));
    plan_add(recovery->plan, step_deed("state-write", NULL, json_pack("{s:O}", "state", fitting)));
    json_decref(steps);
}

static bool recovery_delete(struct recovery *recovery, struct err *err)
{
    const json_t *fitting;

    recovery_close_side(recovery);
    fitting = fitting_record(recovery->world, recovery->old, recovery->state, recovery_fits,
                             recovery);
    if (!fitting) {
        err_set(err, REASON_CHAIN_MISMATCH, "The disks are not as any record of the interrupted delete "
                "of '%s' says: put back the image or the disk that is missing, and start qmp-proxy "
                "again", state_str(recovery->old, "name"));
        return false;
    }
    if (fitting != recovery->state)
        recovery_record(recovery, fitting);
    recovery_cont(recovery);
    recovery_drop_merged(recovery, fitting);
    return true;
}

static bool recovery_is_in_place(const struct recovery *recovery)
{
    const char *method = state_str(recovery->old, "method");

    return method && strcmp(method, REVERT_IN_PLACE) == 0;
}

bool planner_journal_committed(const json_t *journal, const json_t *state)
{
    const json_t *plan = json_object_get(journal, "plan");
    const char *operation = state_str(plan, "operation"), *name = state_str(plan, "name");

    if (json_is_true(json_object_get(journal, "committed")))
        return true;
    /* A create that was taken back half way has its record written without the snapshot. */
    if (operation && name && strcmp(operation, "snapshot-create") == 0 && !state_snapshot(state, name))
        return false;
    return state_is_after(state, json_object_get(plan, "after"));
}

const json_t *planner_journal_present(const json_t *journal, const json_t *state)
{
    const json_t *present = json_object_get(json_object_get(journal, "plan"), "present");

    return !planner_journal_committed(journal, state) && json_is_true(json_object_get(present, "kept"))
               ? present : NULL;
}

json_t *planner_recover(const struct world *world, const json_t *state, const json_t *journal,
                        struct err *err)
{
    struct recovery recovery = {
        .world = world,
        .state = state,
        .old = json_object_get(journal, "plan"),
    };
    const char *operation = state_str(recovery.old, "operation");
    bool ok = true;

    recovery.plan = plan_new(operation, state_str(recovery.old, "name"));
    json_object_set_new(recovery.plan, "forward-only", json_true());
    recovery.other = recovery_is_other(&recovery);
    if (world->gone && planner_journal_committed(journal, state))
        recovery_relaunch(&recovery);
    else if (world->gone)
        recovery_return(&recovery);
    /* Past the commit point, but the second QEMU has ended before the first one did. */
    else if (planner_journal_committed(journal, state) && world->next == WORLD_NEXT_GONE)
        recovery_revert(&recovery);
    else if (planner_journal_committed(journal, state))
        recovery_finish(&recovery);
    else if (recovery_is_in_place(&recovery) && recovery.other)
        recovery_other_in_place(&recovery);
    else if (recovery_is_in_place(&recovery) ? in_place_recover(world, recovery.old, recovery.plan)
                                             : recovery_end_jobs(&recovery))
        json_object_set_new(recovery.plan, "again", json_true());
    else if (recovery_is_in_place(&recovery))
        ok = true; /* all of it is in the plan */
    else if (strcmp(operation, "snapshot-create") == 0)
        recovery_create(&recovery);
    else if (strcmp(operation, "snapshot-delete") == 0)
        ok = recovery_delete(&recovery, err);
    else
        recovery_revert(&recovery);
    if (ok)
        return recovery.plan;
    json_decref(recovery.plan);
    return NULL;
}
