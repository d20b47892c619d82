/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps that merge layers while the guest runs; see planner_delete.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner_delete_internal.h"
#include "policy/planner_delete_side.h"
#include "policy/planner_layers.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

static bool delete_running(const struct delete *delete)
{
    return strcmp(world_status(delete->world), "running") == 0;
}

/* The guest writes to the layer that goes: the job has to catch up with it, and ends by a switch. */
static bool delete_is_active(const struct delete_merge *at)
{
    return at->disk && at->merge.direction == MERGE_COMMIT && !at->merge.above;
}

/* Does the job end by itself where it is told to (PENDING), or does it follow the guest (READY)? */
static bool delete_is_pending(const struct delete_merge *at)
{
    return at->merge.direction == MERGE_STREAM || at->merge.above;
}

/* The layer whose header names another one after the merge, or NULL. */
static const char *delete_rewritten(const struct delete_merge *at)
{
    return at->merge.direction == MERGE_STREAM ? at->merge.child : at->merge.above;
}

static const char *delete_target(const struct delete_merge *at)
{
    return at->disk ? at->disk->label : merge_target(&at->merge);
}

/* The node that is written to. */
static const char *delete_target_node(const struct delete_merge *at)
{
    return at->merge.direction == MERGE_COMMIT ? at->parent_node : at->child_node;
}

/* new: arguments of block-commit. */
static json_t *delete_commit(const struct delete *delete, const struct delete_merge *at)
{
    const json_t *parent = state_layer(delete->now, at->merge.parent);
    json_t *args = json_pack("{s:s, s:s, s:s, s:b, s:b}", "job-id", at->job, "device",
                             at->disk ? planner_job_device(at->disk->g, at->root_node)
                                      : at->child_node,
                             "base-node", at->parent_node, "auto-dismiss", 0, "auto-finalize", 0);

    if (at->merge.above) {
        json_object_set_new(args, "top-node", json_string(at->child_node));
        json_object_set_new(args, "backing-file", json_string(overlay_backing(parent)));
    }
    return args;
}

/* new: arguments of block-stream.  It is dismissed by QEMU, since one that has ended and is still
 * listed has a filter node without an image, which query-named-block-nodes dies of (block.c,
 * bdrv_refresh_filename; tried on 7.2 and 10.0).  What became of it tells its last event. */
static json_t *delete_stream(const struct delete *delete, const struct delete_merge *at)
{
    const char *below = state_str(state_layer(delete->now, at->merge.parent), "parent");

    return json_pack("{s:s, s:s, s:s, s:s, s:b}", "job-id", at->job, "device", at->child_node,
                     "base-node", at->below_node, "backing-file",
                     overlay_backing(state_layer(delete->now, below)), "auto-finalize", 0);
}

/* Starts one merge and waits until it is as far as it gets without the barrier. */
static void delete_start_merge(struct delete *delete, const struct delete_merge *at)
{
    bool commit = at->merge.direction == MERGE_COMMIT;
    const char *execute = commit ? "block-commit" : "block-stream";
    json_t *step = step_command(execute, "qemu", delete_target(at), execute,
                                commit ? delete_commit(delete, at) : delete_stream(delete, at),
                                expect_job(at->job, delete_is_pending(at) ? "pending" : "ready"));

    step_timeout(step, 0);
    if (delete_is_active(at) && delete_running(delete))
        step_stall(step, delete->world->converge_ms, json_pack("{s:s}", "execute", "stop"),
                   planner_cont_back());
    json_object_set_new(step, "bytes", json_integer(at->merge.bytes));
    json_object_set_new(step, "moves", json_true());
    step_undo(step, planner_cancel_job(at->job));
    if (commit)
        step_undo(step, step_lenient(planner_dismiss_job(at->job)));
    plan_add(delete->plan, step);
}

static bool delete_disclaims(const struct delete_merge *at, const char *key, const char *layer)
{
    return at->disk ? strcmp(key, at->merge.key) == 0
                    : strcmp(layer, at->merge.parent) == 0 || strcmp(layer, at->merge.child) == 0;
}

/* What is being deleted names no layer of that disk any more, or of that side branch: it may go, and
 * holds something else. */
static void delete_disclaim(const struct delete *delete, const struct delete_merge *at)
{
    json_t *name, *disks, *layer;
    const char *key;
    void *next;
    size_t i;

    json_array_foreach(delete->names, i, name) {
        disks = json_object_get(state_snapshot(delete->now, json_string_value(name)), "disks");
        json_object_foreach_safe(disks, next, key, layer)
            if (delete_disclaims(at, key, json_string_value(layer)))
                json_object_del(disks, key);
    }
}

/* With cache=unsafe QEMU flushes nothing, and the record must not follow what a power cut undoes. */
static void delete_sync_unflushed(struct delete *delete, const struct delete_merge *at)
{
    const struct graph_node *node = graph_node_find(delete->world->graph, delete_target_node(at));
    const char *layer = merge_target(&at->merge);

    if (!node || !json_is_true(json_object_get(json_object_get(node->info, "cache"), "no-flush")))
        return;
    plan_add(delete->plan, step_deed("file-sync", layer,
                                     json_pack("{s:O}", "file",
                                               json_object_get(state_layer(delete->now, layer),
                                                               "real"))));
}

/* QEMU writes the header before the tables that it leads to, unless it is told to flush these first;
 * a job that follows the guest does that by itself (block/mirror.c, mirror_flush).  "reopen", with
 * nothing to change, flushes and says when it cannot; "flush" says nothing. */
static void delete_flush(struct delete *delete, const struct delete_merge *at)
{
    char line[600];

    if (!delete_is_pending(at))
        return;
    snprintf(line, sizeof(line), "qemu-io %.512s reopen", delete_target_node(at));
    plan_add(delete->plan, step_command("flush", "qemu", delete_target(at), "human-monitor-command",
                                        json_pack("{s:s}", "command-line", line),
                                        json_pack("{s:s}", "is", "any")));
    delete_sync_unflushed(delete, at);
}

json_t *delete_expect(const struct delete *delete, const struct vm_disk *disk)
{
    const json_t *record = state_disk(delete->now, disk->key);
    json_t *chain = state_chain(delete->now, state_str(record, "active"), true), *id;
    json_t *links = json_array(), *out;
    bool named = disk->g->device[0] != '\0';
    size_t i;

    json_array_foreach(chain, i, id)
        json_array_append(links, json_object_get(delete->links, json_string_value(id)));
    out = json_pack("{s:s, s:o}", named ? "device" : "qdev", named ? disk->g->device : disk->g->qdev,
                    "chain", links);
    json_decref(chain);
    return out;
}

/* The record without the emptied layer, whose file goes at the very end, unless others stand on it. */
static void delete_apply(struct delete *delete, const struct delete_merge *at)
{
    const char *emptied = merge_emptied(&at->merge);
    json_t *file = json_incref(json_object_get(state_layer(delete->now, emptied), "real"));

    delete_disclaim(delete, at);
    merge_apply(delete->now, &at->merge);
    merge_apply(delete->after, &at->merge);
    /* In `now` layers may stand on it that go with the plan. */
    if (!state_layer(delete->after, emptied))
        json_array_append(delete->garbage, file);
    json_decref(file);
}

/* new: the step that writes the record as it is while merges run. */
static json_t *delete_write_step(const struct delete *delete)
{
    return step_deed("state-write", NULL,
                     json_pack("{s:o}", "state", json_deep_copy(delete->now)));
}

/* new: the step that looks at the disk's chain. */
static json_t *delete_check_disk(const struct delete *delete, const struct delete_merge *at)
{
    return step_wait("check-disk", "qemu", at->disk->label,
                     json_pack("{s:s, s:[o]}", "is", "chain", "disks",
                               delete_expect(delete, at->disk)));
}

/* Both files hold what they should, on the disk: the record follows. */
static void delete_record(struct delete *delete, const struct delete_merge *at)
{
    json_t *step;

    delete_apply(delete, at);
    if (delete_rewritten(at))
        plan_add(delete->plan, layers_header_step(delete->now, delete_rewritten(at)));
    if (at->disk)
        plan_add(delete->plan, delete_check_disk(delete, at));
    step = delete_write_step(delete);
    step_settled(step);
    plan_add(delete->plan, step);
}

/* A job that follows the guest is told to end.  It does so where it can still be cancelled. */
static void delete_complete(struct delete *delete, const struct delete_merge *at)
{
    if (delete_is_pending(at))
        return;
    plan_add(delete->plan, step_command("job-complete", "qemu", delete_target(at), "job-complete",
                                        json_pack("{s:s}", "id", at->job),
                                        expect_job(at->job, "pending")));
    delete_sync_unflushed(delete, at);
}

/* QEMU leaves the emptied file. */
static void delete_finalize(struct delete *delete, const struct delete_merge *at)
{
    json_t *step = step_command("job-finalize", "qemu", delete_target(at), "job-finalize",
                                json_pack("{s:s}", "id", at->job), expect_job(at->job, "concluded"));

    /* Once that is done the record has to say so, or says so already. */
    json_object_set_new(step, "no-return", json_true());
    plan_add(delete->plan, step);
    if (at->merge.direction == MERGE_COMMIT)
        plan_add(delete->plan, planner_dismiss_job(at->job));
    if (!at->disk)
        delete_side_close(delete, at);
}

/* Ends one merge, and says so on record.  Nobody writes to either file, so that the record may follow. */
static void delete_end_merge(struct delete *delete, const struct delete_merge *at)
{
    delete_complete(delete, at);
    delete_finalize(delete, at);
    delete_record(delete, at);
}

/* The same, of the layer that the guest writes to.  It stands still, both files hold the same, and the
 * record goes first: where it cannot be written the job is cancelled and the guest goes on, while behind
 * the switch it could not go on before there is room. */
static void delete_end_active(struct delete *delete, const struct delete_merge *at)
{
    json_t *before = json_deep_copy(delete->now), *step;

    delete_apply(delete, at);
    step = delete_write_step(delete);
    step_undo_until_settled(step, step_deed("state-return", NULL, json_pack("{s:o}", "state", before)));
    plan_add(delete->plan, step);
    delete_finalize(delete, at);
    step = delete_check_disk(delete, at);
    step_settled(step);
    plan_add(delete->plan, step);
}

void delete_mark(struct delete *delete)
{
    json_t *step, *name, *before = json_deep_copy(delete->now);
    size_t i;

    json_array_foreach(delete->names, i, name)
        json_object_set_new(state_snapshot(delete->now, json_string_value(name)), "deleting",
                            json_true());
    for (i = 0; i < delete->n_merges; i++) {
        const struct delete_merge *at = &delete->merges[i];

        json_object_del(state_layer(delete->now, merge_target(&at->merge)), "print");
        json_object_del(state_layer(delete->now, delete_rewritten(at)), "print");
    }
    step = step_deed("snapshot-mark", delete->name,
                     json_pack("{s:o}", "state", json_deep_copy(delete->now)));
    /* Does nothing once a byte has moved. */
    step_undo(step, step_deed("snapshot-unmark", delete->name, json_pack("{s:o}", "state", before)));
    plan_add(delete->plan, step);
}

/* new: the step that lets what follows have little left to flush. */
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

/* A copied layer on a side branch: nothing moves, the header names what lies below. */
static void delete_pass_over(struct delete *delete, const struct delete_merge *at)
{
    const json_t *child = state_layer(delete->now, at->merge.child);
    const json_t *below = state_layer(delete->now,
                                      state_str(state_layer(delete->now, at->merge.parent), "parent"));
    json_t *step = step_deed("header-rewrite", at->merge.child,
                             json_pack("{s:O, s:s, s:O}", "file", json_object_get(child, "real"),
                                       "backing", overlay_backing(below), "backing-format",
                                       json_object_get(below, "format")));

    json_object_set_new(step, "bytes", json_integer(0));
    json_object_set_new(step, "moves", json_true());
    json_object_set_new(step, "no-return", json_true());
    plan_add(delete->plan, step);
    delete_record(delete, at);
}

/* The layers that guests write to change while the guest stands still. */
static void delete_end_actives(struct delete *delete, size_t round)
{
    bool running = delete_running(delete);
    json_t *step;
    size_t i;

    if (running) {
        step = planner_stop();
        step_undo(step, planner_cont_back());
        plan_add(delete->plan, step);
    }
    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round && delete_is_active(&delete->merges[i]))
            delete_complete(delete, &delete->merges[i]);
    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round && delete_is_active(&delete->merges[i]))
            delete_end_active(delete, &delete->merges[i]);
    if (running)
        plan_add(delete->plan, planner_cont());
}

void delete_merge_round(struct delete *delete, size_t round)
{
    bool active = false;
    size_t i;

    for (i = 0; i < delete->n_merges; i++) {
        const struct delete_merge *at = &delete->merges[i];

        if (at->round != round)
            continue;
        if (at->header_only) {
            delete_pass_over(delete, at);
            return;
        }
        if (!at->disk)
            delete_side_open(delete, at);
        delete_start_merge(delete, at);
        active = active || delete_is_active(at);
    }
    plan_add(delete->plan, delete_sync_step(delete, round));
    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round)
            delete_flush(delete, &delete->merges[i]);
    for (i = 0; i < delete->n_merges; i++)
        if (delete->merges[i].round == round && !delete_is_active(&delete->merges[i]))
            delete_end_merge(delete, &delete->merges[i]);
    if (active)
        delete_end_actives(delete, round);
}
