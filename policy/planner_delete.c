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
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"

/* One merge, with the names that it has in the running QEMU. */
struct delete_merge {
    struct merge merge;
    const struct vm_disk *disk;
    const char *parent_node, *child_node;   /* borrowed from the graph */
    const char *root_node;                  /* the disk's active node at that time */
    size_t round;               /* merges of one disk follow each other, those of a round go together */
    char job[64];
};

struct delete {
    const struct world *world;
    const char *name;
    struct vm_disks disks;
    json_t *now;                /* the record as it is while merges run: marked */
    json_t *after;
    json_t *garbage;            /* real paths */
    json_t *plan;
    struct delete_merge *merges;
    size_t n_merges, n_rounds;
};

static bool delete_check_request(const json_t *request, struct err *err)
{
    const char *children = state_str(request, "children");
    const char *direction = state_str(request, "direction");

    if (children && strcmp(children, "keep") != 0)
        err_set(err, REASON_NOT_SUPPORTED, "children: %s is not supported yet: delete the children "
                "one by one", children);
    else if (direction && strcmp(direction, "stream") == 0)
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

/* Starts one commit and waits until it is as far as it gets without the barrier. */
static void delete_start_merge(struct delete *delete, const struct delete_merge *at)
{
    const json_t *parent = state_layer(delete->now, at->merge.parent);
    const json_t *child = state_layer(delete->now, at->merge.child);
    json_t *args = json_pack("{s:s, s:s, s:s, s:b}", "job-id", at->job, "device",
                             planner_job_device(at->disk->g, at->root_node), "base-node",
                             at->parent_node, "auto-dismiss", 0);
    json_t *step;

    if (at->merge.above) {
        json_object_set_new(args, "top-node", json_string(at->child_node));
        json_object_set_new(args, "backing-file", json_string(overlay_backing(parent)));
        json_object_set_new(args, "auto-finalize", json_false());
    }
    step = step_command("block-commit", "qemu", at->disk->label, "block-commit", args,
                        expect_job(at->job, at->merge.above ? "pending" : "ready"));
    step_timeout(step, 0);
    json_object_set(step, "bytes",
                    json_object_get(world_file(delete->world, state_str(child, "real")), "size"));
    json_object_set_new(step, "moves", json_true());
    step_undo(step, planner_cancel_job(at->job));
    step_undo(step, step_lenient(planner_dismiss_job(at->job)));
    plan_add(delete->plan, step);
}

/* Ends one commit, and says so on record: this disk is done with. */
static void delete_end_merge(struct delete *delete, const struct delete_merge *at)
{
    json_t *snapshot = state_snapshot(delete->now, delete->name);
    const char *end = at->merge.above ? "job-finalize" : "job-complete";
    json_t *step;

    /* Once QEMU has left the child's file the record has to say so before the guest goes on. */
    step = step_command(end, "qemu", at->disk->label, end, json_pack("{s:s}", "id", at->job),
                        expect_job(at->job, "concluded"));
    json_object_set_new(step, "no-return", json_true());
    plan_add(delete->plan, step);
    plan_add(delete->plan, planner_dismiss_job(at->job));
    if (!at->merge.above)
        plan_add(delete->plan, step_wait("check-disk", "qemu", at->disk->label,
                                         expect_disk(at->disk->g, at->parent_node)));
    json_array_append(delete->garbage,
                      json_object_get(state_layer(delete->now, at->merge.child), "real"));
    json_object_del(json_object_get(snapshot, "disks"), at->merge.key);
    merge_apply(delete->now, &at->merge);
    merge_apply(delete->after, &at->merge);
    step = step_deed("state-write", NULL,
                     json_pack("{s:o}", "state", json_deep_copy(delete->now)));
    json_object_set_new(step, "settled", json_true());
    plan_add(delete->plan, step);
}

/* From here on the snapshot can only be deleted, and what is merged into has no fingerprint: however
 * far the merge gets, the child's content is right. */
static void delete_mark(struct delete *delete)
{
    json_t *step, *before = json_deep_copy(delete->now);

    json_object_set_new(state_snapshot(delete->now, delete->name), "deleting", json_true());
    for (size_t i = 0; i < delete->n_merges; i++)
        json_object_del(state_layer(delete->now, delete->merges[i].merge.parent), "print");
    step = step_deed("snapshot-mark", delete->name,
                     json_pack("{s:o}", "state", json_deep_copy(delete->now)));
    /* Does nothing once a byte has moved. */
    step_undo(step, step_deed("snapshot-unmark", delete->name, json_pack("{s:o}", "state", before)));
    plan_add(delete->plan, step);
}

/* new: the step that lets `stop` have little left to flush. */
static json_t *delete_sync_step(const struct delete *delete, size_t round)
{
    json_t *files = json_array();

    for (size_t i = 0; i < delete->n_merges; i++) {
        const struct merge *merge = &delete->merges[i].merge;

        if (delete->merges[i].round != round)
            continue;
        json_array_append(files, json_object_get(state_layer(delete->now, merge->parent), "real"));
        json_array_append(files, json_object_get(state_layer(delete->now, merge->child), "real"));
    }
    return step_deed("files-sync", NULL, json_pack("{s:o}", "files", files));
}

/* The merges of one round: all are as far as they get before the first one is ended. */
static void delete_merge_round(struct delete *delete, size_t round)
{
    bool running = strcmp(world_status(delete->world), "running") == 0;
    json_t *step;
    size_t i;

    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round)
            delete_start_merge(delete, &delete->merges[i]);
    if (running) {
        plan_add(delete->plan, delete_sync_step(delete, round));
        step = planner_stop();
        step_undo(step, planner_cont());
        plan_add(delete->plan, step);
    }
    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round)
            delete_end_merge(delete, &delete->merges[i]);
    if (running)
        plan_add(delete->plan, planner_cont());
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

static void delete_finish(struct delete *delete, const json_t *memory)
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
    if (state_str(memory, "file"))
        json_array_append(delete->garbage, json_object_get(memory, "file"));
    if (json_array_size(delete->garbage) > 0)
        plan_add(delete->plan, step_lenient(step_deed("files-remove", NULL,
                                                      json_pack("{s:O}", "files",
                                                                delete->garbage))));
    state_advance(delete->after);
    plan_set_running(delete->plan, world_status(delete->world));
    json_object_set(delete->plan, "after", delete->after);
}

static bool delete_plan(struct delete *delete, const json_t *state, const json_t *request,
                        struct err *err)
{
    const json_t *snapshot = state_snapshot_need(state, delete->name, err);

    if (!snapshot || !delete_check_request(request, err) ||
        !disks_check_jobs(delete->world, err) || !disks_check_all(delete->world, state, err))
        return false;
    delete->plan = plan_new("snapshot-delete", delete->name);
    state_snapshot_remove(delete->after, delete->name);
    delete->garbage = state_collect_garbage(delete->after);
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
    delete_finish(delete, json_object_get(snapshot, "memory"));
    return true;
}

/* The name and its memory only; layers stay as they are, and are looked at by a later delete. */
static bool delete_plan_metadata(struct delete *delete, struct err *err)
{
    const json_t *snapshot = state_snapshot_need(delete->after, delete->name, err);
    json_t *memory;

    if (!snapshot)
        return false;
    memory = json_incref(json_object_get(snapshot, "memory"));
    delete->plan = plan_new("snapshot-delete", delete->name);
    delete->garbage = json_array();
    state_snapshot_remove(delete->after, delete->name);
    delete_finish(delete, memory);
    json_decref(memory);
    return true;
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
    ok = json_is_true(json_object_get(request, "metadata-only"))
             ? delete_plan_metadata(&delete, err) : delete_plan(&delete, state, request, err);
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
    return delete.plan;
}
