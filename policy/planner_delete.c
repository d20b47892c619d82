/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-delete: the name goes; layers that nothing needs any more are unlinked, or merged with
 * their only child, by block-commit or block-stream (merge.h says which).
 *
 * The snapshot is marked on disk before the first byte moves, since a layer that is half merged is
 * worth nothing to it; from then on it can only be deleted (again).  Between the moment that a disk
 * leaves its active file and the moment that the record says so the guest stands still: both files
 * then have the same content, so whichever the record names after a power cut is right.  Other merges
 * do not stop the guest: below the active layer nothing changes what a layer reads as.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/merge.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_delete_internal.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "policy/subtree.h"

/* new: key -> layer, of the frozen layers that have no fingerprint: they were merged into, or their
 * header was rewritten, by this delete or by an earlier one that broke off. */
static json_t *delete_changed(const struct delete *delete)
{
    json_t *changed = json_object(), *layer;
    const char *id;

    json_object_foreach(json_object_get(delete->after, "layers"), id, layer)
        if (!json_object_get(layer, "print") && !state_layer_active_of(delete->after, id))
            json_object_set_new(changed, id, json_string(id));
    return changed;
}

/* new: the step that looks at all chains once more. */
static json_t *delete_check_step(const struct delete *delete)
{
    json_t *disks = json_array();

    for (size_t i = 0; i < delete->disks.n; i++)
        if (state_disk(delete->now, delete->disks.v[i].key))
            json_array_append_new(disks, delete_expect(delete, &delete->disks.v[i]));
    return step_wait("check-disks", "qemu", NULL,
                     json_pack("{s:s, s:o}", "is", "chain", "disks", disks));
}

/* new: takes an emptied layer's node out of QEMU: one of the command line goes by itself, one that was
 * added does not.  It may be in use. */
static json_t *delete_node_step(const struct delete_merge *at)
{
    return step_lenient(planner_close_node(at->merge.direction == MERGE_COMMIT ? at->child_node
                                                                              : at->parent_node));
}

/* freeze: missing fingerprints are taken, for which all images have to be there. */
static void delete_finish(struct delete *delete, bool freeze)
{
    json_t *step, *changed = freeze ? delete_changed(delete) : NULL;

    if (delete->n_merges)
        plan_add(delete->plan, delete_check_step(delete));
    if (delete->n_merges || json_object_size(changed) > 0)
        plan_add(delete->plan, planner_freeze_step(delete->after, changed));
    json_decref(changed);
    step = step_deed("state-write", NULL, json_object());
    step_commit_point(step);
    plan_add(delete->plan, step);
    for (size_t i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].disk)
            plan_add(delete->plan, delete_node_step(&delete->merges[i]));
    json_array_extend(delete->garbage, delete->memory);
    if (json_array_size(delete->garbage) > 0)
        plan_add(delete->plan, step_lenient(step_deed("files-remove", NULL,
                                                      json_pack("{s:O}", "files",
                                                                delete->garbage))));
    state_advance(delete->after);
    json_object_set(delete->plan, "deleted", delete->names);
    plan_set_running(delete->plan, world_status(delete->world));
    json_object_set(delete->plan, "after", delete->after);
}

/* Takes the snapshots out of the record; their memory goes at the end.  What they alone had named is
 * the delete's own. */
static void delete_names(struct delete *delete, bool collect)
{
    json_t *file, *name, *own = json_object(), *layer;
    const char *key;
    size_t i;

    delete->memory = json_array();
    delete->search.own = own;
    json_array_foreach(delete->names, i, name) {
        const json_t *snapshot = state_snapshot(delete->after, json_string_value(name));

        file = json_object_get(json_object_get(snapshot, "memory"), "file");
        if (file)
            json_array_append(delete->memory, file);
        json_object_foreach(json_object_get(snapshot, "disks"), key, layer)
            json_object_set_new(own, json_string_value(layer), json_true());
        state_snapshot_remove(delete->after, json_string_value(name));
    }
    delete->garbage = collect ? state_collect_garbage(delete->after) : json_array();
}

static enum merge_direction delete_direction(const json_t *request)
{
    const char *wanted = state_str(request, "direction");

    return wanted && strcmp(wanted, "commit") == 0   ? MERGE_COMMIT
           : wanted && strcmp(wanted, "stream") == 0 ? MERGE_STREAM : MERGE_AUTO;
}

static bool delete_plan(struct delete *delete, const json_t *state, const json_t *request,
                        struct err *err)
{
    if (!disks_check_jobs(delete->world, err) || !disks_check_all(delete->world, state, err))
        return false;
    disks_note_sizes(delete->world, delete->now);
    disks_note_sizes(delete->world, delete->after);
    delete->plan = plan_new("snapshot-delete", delete->name);
    delete_names(delete, true);
    if (!delete_find_merges(delete, delete_direction(request), err))
        return false;
    if (delete->n_merges)
        delete_mark(delete);
    for (size_t round = 0; round < delete->n_rounds; round++)
        delete_merge_round(delete, round);
    delete_finish(delete, true);
    return true;
}

/* The names and their memory only; layers stay as they are, and are looked at by a later delete. */
static void delete_plan_metadata(struct delete *delete)
{
    delete->plan = plan_new("snapshot-delete", delete->name);
    delete_names(delete, false);
    delete_finish(delete, false);
}

json_t *planner_delete(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err)
{
    struct delete delete = {
        .world = world,
        .name = state_str(request, "name"),
        .now = json_deep_copy(state),
        .after = json_deep_copy(state),
        .pool = json_array(),
    };
    bool ok;

    disks_list(world, &delete.disks);
    delete.names = subtree_names(state, delete.name, state_str(request, "children"), err);
    ok = delete.names != NULL;
    if (ok && json_is_true(json_object_get(request, "metadata-only")))
        delete_plan_metadata(&delete);
    else
        ok = ok && delete_plan(&delete, state, request, err);
    if (!ok) {
        json_decref(delete.plan);
        delete.plan = NULL;
    }
    for (size_t i = 0; i < delete.n_merges; i++)
        merge_clear(&delete.merges[i].merge);
    free(delete.merges);
    disks_clear(&delete.disks);
    json_decref(delete.now);
    json_decref(delete.after);
    json_decref(delete.garbage);
    json_decref(delete.memory);
    json_decref(delete.names);
    json_decref(delete.pool);
    json_decref(delete.links);
    json_decref((json_t *)delete.search.own);
    json_decref((json_t *)delete.search.bytes);
    json_decref((json_t *)delete.search.skip);
    return delete.plan;
}
