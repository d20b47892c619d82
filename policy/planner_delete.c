/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-delete: the name goes; layers that nothing needs any more are unlinked, or merged with
 * their only child by block-commit.
 *
 * The snapshot is marked on disk before the first byte moves, since a layer that is half merged is
 * worth nothing to it; from then on it can only be deleted (again).  Between the moment that a disk
 * leaves the child's file and the moment that the record says so the guest stands still: both
 * files then have the same content, so whichever the record names after a power cut is right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/merge.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_layers.h"
#include "policy/planner_delete_internal.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "policy/subtree.h"

static bool delete_check_request(const json_t *request, struct err *err)
{
    const char *direction = state_str(request, "direction");

    if (direction && strcmp(direction, "stream") == 0)
        err_set(err, REASON_NOT_SUPPORTED, "direction: stream is not supported yet: leave it out");
    return !err->set;
}

/* The node of a layer, by its place in the disk's chain, which was found to be the recorded one. */
static const char *delete_node(const struct delete *delete, const struct vm_disk *disk,
                               const char *layer)
{
    const json_t *record = state_disk(delete->after, disk->key);
    json_t *chain = state_chain(delete->after, state_str(record, "active"), true);
    const char *node = NULL;

    for (size_t i = 0; i < json_array_size(chain) && i < disk->g->n_chain; i++)
        if (strcmp(json_string_value(json_array_get(chain, i)), layer) == 0)
            node = disk->g->chain[i].image->name;
    json_decref(chain);
    return node;
}

static bool delete_check_merge(const struct delete *delete, const struct merge *merge,
                               struct err *err)
{
    const char *parent = state_str(state_layer(delete->after, merge->parent), "real");
    const char *child = state_str(state_layer(delete->after, merge->child), "real");
    const char *const both[] = { parent, child };

    for (size_t i = 0; i < 2; i++) {
        if (!json_is_true(json_object_get(world_file(delete->world, both[i]), "bitmaps")))
            continue;
        err_set(err, REASON_UNSUPPORTED_DISK, "'%s' has a persistent dirty bitmap, which a merge "
                "would %s: remove it with block-dirty-bitmap-remove", both[i],
                i == 0 ? "make worthless" : "lose");
        err_name(err, "file", both[i]);
        return false;
    }
    return overlay_check_room(delete->world, parent,
                              json_integer_value(json_object_get(world_file(delete->world, child),
                                                                 "size")), err);
}

static void delete_name_merge(const struct delete *delete, struct delete_merge *at,
                              const json_t *state)
{
    const char *active = state_str(state_disk(state, at->disk->key), "active");

    at->parent_node = delete_node(delete, at->disk, at->merge.parent);
    at->child_node = delete_node(delete, at->disk, at->merge.child);
    at->root_node = delete_node(delete, at->disk, active);
    snprintf(at->job, sizeof(at->job), "qsnap-commit-%.40s", at->merge.child);
}

/* All merges of one disk, one after the other; state is the record as it goes along. */
static bool delete_find_merges_of(struct delete *delete, const struct vm_disk *disk, json_t *state,
                                  struct err *err)
{
    struct merge merge;

    for (size_t round = 0; merge_find(state, disk->key, &merge); round++) {
        struct delete_merge *at;

        delete->merges = realloc(delete->merges,
                                 (delete->n_merges + 1) * sizeof(*delete->merges));
        if (!delete->merges)
            abort();
        at = &delete->merges[delete->n_merges++];
        *at = (struct delete_merge){ .merge = merge, .disk = disk, .round = round };
        delete_name_merge(delete, at, state);
        if (round >= delete->n_rounds)
            delete->n_rounds = round + 1;
        if (!delete_check_merge(delete, &merge, err))
            return false;
        merge_apply(state, &merge);
    }
    return true;
}

static bool delete_find_merges(struct delete *delete, struct err *err)
{
    json_t *state = json_deep_copy(delete->after);
    bool ok = true;

    for (size_t i = 0; ok && i < delete->disks.n; i++)
        if (state_disk(state, delete->disks.v[i].key))
            ok = delete_find_merges_of(delete, &delete->disks.v[i], state, err);
    json_decref(state);
    return ok;
}

/* A layer that a later merge has done away with, or that is active, has no fingerprint. */
static void delete_note_changed(const struct delete *delete, const char *layer, json_t *changed)
{
    if (state_layer(delete->after, layer) && !state_layer_active_of(delete->after, layer))
        json_object_set_new(changed, layer, json_string(layer));
}

/* new: key -> layer, of the frozen layers that were merged into or whose header was rewritten. */
static json_t *delete_changed(const struct delete *delete)
{
    json_t *changed = json_object();

    for (size_t i = 0; i < delete->n_merges; i++) {
        const struct merge *merge = &delete->merges[i].merge;

        delete_note_changed(delete, merge->parent, changed);
        if (merge->above)
            delete_note_changed(delete, merge->above, changed);
    }
    return changed;
}

static json_t *delete_actives(const struct delete *delete)
{
    json_t *actives = json_object();
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(delete->after, "disks"), key, disk)
        json_object_set(actives, key, json_object_get(disk, "active"));
    return actives;
}

static void delete_finish(struct delete *delete)
{
    json_t *step, *changed;

    if (delete->n_merges) {
        json_t *actives = delete_actives(delete);

        plan_add(delete->plan, step_wait("check-disks", "qemu", NULL,
                                         layers_expect(delete->after, actives)));
        changed = delete_changed(delete);
        plan_add(delete->plan, planner_freeze_step(delete->after, changed));
        json_decref(changed);
        json_decref(actives);
    }
    step = step_deed("state-write", NULL, json_object());
    step_commit_point(step);
    plan_add(delete->plan, step);
    /* A node of the command line goes by itself, one that was added has to be deleted. */
    for (size_t i = 0; i < delete->n_merges; i++)
        plan_add(delete->plan,
                 step_lenient(step_command("blockdev-del", "qemu", delete->merges[i].child_node,
                                           "blockdev-del",
                                           json_pack("{s:s}", "node-name",
                                                     delete->merges[i].child_node),
                                           expect_node(delete->merges[i].child_node, false))));
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

/* Takes the snapshots out of the record; their memory goes at the end. */
static void delete_names(struct delete *delete, bool collect)
{
    json_t *file, *name;
    size_t i;

    delete->memory = json_array();
    json_array_foreach(delete->names, i, name) {
        const json_t *snapshot = state_snapshot(delete->after, json_string_value(name));

        file = json_object_get(json_object_get(snapshot, "memory"), "file");
        if (file)
            json_array_append(delete->memory, file);
        state_snapshot_remove(delete->after, json_string_value(name));
    }
    delete->garbage = collect ? state_collect_garbage(delete->after) : json_array();
}

static bool delete_plan(struct delete *delete, const json_t *state, const json_t *request,
                        struct err *err)
{
    if (!delete_check_request(request, err) ||
        !disks_check_jobs(delete->world, err) || !disks_check_all(delete->world, state, err))
        return false;
    delete->plan = plan_new("snapshot-delete", delete->name);
    delete_names(delete, true);
    if (!delete_find_merges(delete, err))
        return false;
    if (delete->n_merges && strcmp(world_status(delete->world), "postmigrate") == 0) {
        err_set(err, REASON_WRONG_STATE, "QEMU has let go of its images when it saved the memory of "
                "the paused guest, so that none can be merged: continue the guest first");
        return false;
    }
    if (delete->n_merges)
        delete_mark(delete);
    for (size_t round = 0; round < delete->n_rounds; round++)
        delete_merge_round(delete, round);
    delete_finish(delete);
    return true;
}

/* The names and their memory only; layers stay as they are, and are looked at by a later delete. */
static void delete_plan_metadata(struct delete *delete)
{
    delete->plan = plan_new("snapshot-delete", delete->name);
    delete_names(delete, false);
    delete_finish(delete);
}

json_t *planner_delete(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err)
{
    struct delete delete = {
        .world = world,
        .name = state_str(request, "name"),
        .now = json_deep_copy(state),
        .after = json_deep_copy(state),
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
    return delete.plan;
}
