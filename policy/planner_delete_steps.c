/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps that merge layers while the guest runs; see planner_delete.c. */
#include <stdlib.h>
#include <string.h>

#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner_delete_internal.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

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

/* What is being deleted names no layer of that disk any more. */
static void delete_disclaim(const struct delete *delete, const char *key)
{
    json_t *name;
    size_t i;

    json_array_foreach(delete->names, i, name)
        json_object_del(json_object_get(state_snapshot(delete->now, json_string_value(name)),
                                        "disks"), key);
}

/* Ends one commit, and says so on record: this disk is done with. */
static void delete_end_merge(struct delete *delete, const struct delete_merge *at)
{
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
    delete_disclaim(delete, at->merge.key);
    merge_apply(delete->now, &at->merge);
    merge_apply(delete->after, &at->merge);
    step = step_deed("state-write", NULL,
                     json_pack("{s:o}", "state", json_deep_copy(delete->now)));
    json_object_set_new(step, "settled", json_true());
    plan_add(delete->plan, step);
}

void delete_mark(struct delete *delete)
{
    json_t *step, *name, *before = json_deep_copy(delete->now);
    size_t i;

    json_array_foreach(delete->names, i, name)
        json_object_set_new(state_snapshot(delete->now, json_string_value(name)), "deleting",
                            json_true());
    for (i = 0; i < delete->n_merges; i++)
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

void delete_merge_round(struct delete *delete, size_t round)
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
