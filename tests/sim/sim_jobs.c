/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block jobs.  One that was made has nothing done; the first look at it finds half of its data moved, the
 * second one all. */
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"

#define SIM_JOB_BYTES 65536

static const char *const job_state_name[SIM_JOB__COUNT] = { "running", "ready", "pending", "concluded" };

static struct sim_job *job_find(const struct sim_qemu *qemu, const char *id)
{
    struct sim_job *job = id ? qemu->jobs : NULL;

    while (job && strcmp(job->id, id) != 0)
        job = job->next;
    return job;
}

static void job_free(struct sim_qemu *qemu, struct sim_job *job)
{
    struct sim_job **at = &qemu->jobs;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    free(job->id);
    free(job->backing_file);
    free(job);
}

void sim_jobs_clear(struct sim_qemu *qemu)
{
    while (qemu->jobs)
        job_free(qemu, qemu->jobs);
}

static void job_tell(struct sim_qemu *qemu, const struct sim_job *job, const char *status)
{
    sim_monitor_event(qemu, "JOB_STATUS_CHANGE",
                      json_pack("{s:s, s:s}", "id", job->id, "status", status));
}

static void job_tell_end(struct sim_qemu *qemu, const struct sim_job *job)
{
    bool cancelled = job->error && strcmp(job->error, "Operation canceled") == 0;

    if (!job->top)
        return;
    sim_monitor_event(qemu, cancelled ? "BLOCK_JOB_CANCELLED" : "BLOCK_JOB_COMPLETED",
                      json_pack("{s:s, s:s, s:i, s:i, s:i, s:s*}", "device", job->id, "type", job->type,
                                "len", SIM_JOB_BYTES, "offset", SIM_JOB_BYTES, "speed", 0, "error",
                                cancelled ? NULL : job->error));
}

void sim_job_enter(struct sim_qemu *qemu, struct sim_job *job, enum sim_job_state state)
{
    job->state = state;
    job_tell(qemu, job, job_state_name[state]);
    if (state != SIM_JOB_CONCLUDED)
        return;
    job_tell_end(qemu, job);
    if (job->dismiss) {
        job_tell(qemu, job, "null");
        job_free(qemu, job);
    } else {
        job->top = job->base = job->filter = NULL;
    }
}

struct sim_job *sim_job_add(struct sim_qemu *qemu, const char *id, const char *type, const char **error)
{
    struct sim_job *job;

    if (job_find(qemu, id)) {
        *error = "Job ID already in use";
        return NULL;
    }
    job = calloc(1, sizeof(*job));
    job->id = strdup(id);
    job->type = type;
    job->dismiss = job->finalize = true;
    job->next = qemu->jobs;
    qemu->jobs = job;
    job_tell(qemu, job, "created");
    job_tell(qemu, job, "running");
    return job;
}

/* ---- data ---- */

static struct sim_image *job_image(const struct sim_node *node)
{
    return node && node->path ? sim_image_find(node->path) : NULL;
}

/* What the layers from top down to the one above base hold goes down into base. */
static void job_commit(const struct sim_job *job, unsigned first, unsigned end)
{
    struct sim_image *base = job_image(job->base);

    for (unsigned i = first; base && i < end; i++) {
        long value = 0;

        for (const struct sim_node *node = job->top; node && node != job->base && !value; node = node->backing)
            if (node->path && job_image(node))
                value = sim_image_own(job_image(node), i);
        if (value)
            sim_image_write(base, i, value);
    }
}

/* What the layers between top and base hold goes up into top. */
static void job_stream(const struct sim_job *job, unsigned first, unsigned end)
{
    struct sim_image *top = job_image(job->top);

    for (unsigned i = first; top && i < end; i++) {
        long value = sim_image_own(top, i);

        for (const struct sim_node *node = job->top->backing; node && node != job->base && !value;
             node = node->backing)
            if (node->path && job_image(node))
                value = sim_image_own(job_image(node), i);
        if (value && !sim_image_own(top, i))
            sim_image_write(top, i, value);
    }
}

static void job_move(const struct sim_job *job, unsigned first, unsigned end)
{
    (strcmp(job->type, "commit") == 0 ? job_commit : job_stream)(job, first, end);
}

/* ---- filters ---- */

static void job_filter(struct sim_qemu *qemu, struct sim_job *job, const char *driver)
{
    struct sim_node *filter = sim_node_add(qemu, NULL, driver);

    sim_node_replace(job->top, filter);
    filter->backing = job->top;
    job->filter = filter;
}

static void job_unfilter(struct sim_job *job)
{
    if (job->filter)
        sim_node_replace(job->filter, job->filter->backing);
    job->filter = NULL;
}

/* ---- ends ---- */

/* The header of what stands on the node names another layer from now on. */
static void job_rewrite(struct sim_node *node, struct sim_node *below, const char *name)
{
    struct sim_image *image = job_image(node);

    if (image)
        sim_image_rebase(image, below ? name : NULL, below ? below->driver : NULL);
}

static void job_finish_commit(struct sim_qemu *qemu, struct sim_job *job)
{
    struct sim_node *top = job->top, *base = job->base, *node;

    job_unfilter(job);
    if (!job->follows)
        for (node = qemu->nodes; node; node = node->next)
            if (node->backing == top)
                job_rewrite(node, base, job->backing_file ? job->backing_file : base->path);
    sim_node_replace(top, base);
    base->write = base->file->write = job->follows;
    if (job->follows)
        top->write = top->file->write = false;
}

static void job_finish_stream(struct sim_job *job)
{
    job_unfilter(job);
    job->top->backing = job->base;
    job_rewrite(job->top, job->base,
                job->backing_file ? job->backing_file : job->base ? job->base->path : NULL);
}

static void job_finish(struct sim_qemu *qemu, struct sim_job *job)
{
    job_move(job, 0, SIM_BLOCKS);
    if (strcmp(job->type, "commit") == 0)
        job_finish_commit(qemu, job);
    else
        job_finish_stream(job);
    sim_job_enter(qemu, job, SIM_JOB_CONCLUDED);
    sim_graph_sweep(qemu);
    sim_graph_lock(qemu);
}

static void job_abort(struct sim_qemu *qemu, struct sim_job *job)
{
    job_unfilter(job);
    if (job->base && strcmp(job->type, "commit") == 0)
        job->base->write = job->base->file->write = false;
    job->error = "Operation canceled";
    sim_job_enter(qemu, job, SIM_JOB_CONCLUDED);
    sim_graph_sweep(qemu);
    sim_graph_lock(qemu);
}

static void job_tick(struct sim_qemu *qemu, struct sim_job *job)
{
    if (job->state != SIM_JOB_RUNNING)
        return;
    if (!job->top) {
        sim_state_job_tick(qemu, job);
    } else if (++job->ticks == 1) {
        job_move(job, 0, SIM_BLOCKS / 2);
    } else if (job->ticks > 2) {
        job_move(job, 0, SIM_BLOCKS);
        if (job->follows)
            sim_job_enter(qemu, job, SIM_JOB_READY);
        else if (job->finalize)
            job_finish(qemu, job);
        else
            sim_job_enter(qemu, job, SIM_JOB_PENDING);
    }
}

void sim_jobs_tick(struct sim_qemu *qemu)
{
    struct sim_job *job, *next;

    for (job = qemu->jobs; job && qemu->alive; job = next) {
        next = job->next;
        job_tick(qemu, job);
    }
}

/* ---- beginnings ---- */

static bool below_in_chain(const struct sim_node *node, const struct sim_node *base)
{
    while (node && node != base)
        node = node->backing;
    return node != NULL;
}

static const char *job_check(struct sim_qemu *qemu, struct sim_node *top, struct sim_node *base,
                             bool commit)
{
    if (!top || (commit && !base))
        return "Cannot find device= nor node-name";
    if (base && (top == base || !below_in_chain(top, base)))
        return "Base not found in the backing chain";
    if (qemu->inactive)
        return "block device is inactive";
    for (struct sim_node *node = top; node && (commit || node != base); node = node->backing) {
        if (sim_node_busy(qemu, node))
            return "Node is busy: block device is in use by block job";
        if (node == base)
            break;
    }
    return NULL;
}

/* Who has the base as its own would read what is written into it. */
static const char *commit_check_base(struct sim_qemu *qemu, struct sim_node *top, struct sim_node *base)
{
    struct sim_node *above = top;

    while (above->backing != base)
        above = above->backing;
    for (struct sim_node *node = qemu->nodes; node; node = node->next)
        if (node != above && (node->backing == base || node->file == base))
            return "Conflicts with use by another node as 'backing', which does not allow 'write'";
    if (!sim_lock_take(base->file, base->path, true))
        return "Failed to get \"write\" lock";
    return NULL;
}

static bool flag(const json_t *args, const char *name)
{
    return !json_is_false(json_object_get(args, name));
}

static struct sim_node *job_root(struct sim_qemu *qemu, const char *device)
{
    for (size_t i = 0; i < qemu->n_disks; i++)
        if (device && device[0] && strcmp(qemu->disks[i].device, device) == 0)
            return qemu->disks[i].root;
    return sim_node_find(qemu, device);
}

static const char *job_begin(struct sim_qemu *qemu, const json_t *args, bool commit)
{
    const char *error = NULL, *name = state_str(args, "top-node");
    struct sim_node *root = job_root(qemu, state_str(args, "device"));
    struct sim_node *base = sim_node_find(qemu, state_str(args, "base-node"));
    struct sim_node *top = name ? sim_node_find(qemu, name) : root;
    struct sim_job *job;
    bool active = root && (top == root);

    if (commit && root)
        for (struct sim_node *node = qemu->nodes; node; node = node->next)
            if (node->backing == root || node->file == root)
                return "Need a root block node";
    if (name && (!root || !top || !below_in_chain(root, top)))
        return "Top not found in the backing chain";
    error = job_check(qemu, top, base, commit);
    if (!error && commit)
        error = commit_check_base(qemu, top, base);
    job = error ? NULL : sim_job_add(qemu, state_str(args, "job-id"), commit ? "commit" : "stream", &error);
    if (!job)
        return error;
    job->top = top;
    job->base = base;
    job->dismiss = flag(args, "auto-dismiss");
    job->finalize = flag(args, "auto-finalize");
    job->follows = commit && active;
    if (state_str(args, "backing-file"))
        job->backing_file = strdup(state_str(args, "backing-file"));
    if (commit)
        base->write = base->file->write = true;
    job_filter(qemu, job, !commit ? "copy-on-read" : active ? "mirror_top" : "commit_top");
    return NULL;
}

/* ---- verbs ---- */

static const char *job_cancel(struct sim_qemu *qemu, struct sim_job *job, bool force)
{
    if (job->state == SIM_JOB_CONCLUDED)
        return "Job in state 'concluded' cannot accept command verb 'cancel'";
    if (job->state == SIM_JOB_READY && !force) {
        job_unfilter(job);
        sim_job_enter(qemu, job, SIM_JOB_CONCLUDED);
        sim_graph_sweep(qemu);
    } else {
        job_abort(qemu, job);
    }
    return NULL;
}

const char *sim_job_command(struct sim_qemu *qemu, const char *execute, const json_t *args)
{
    struct sim_job *job;
    bool block = strcmp(execute, "block-job-cancel") == 0;

    if (strcmp(execute, "block-commit") == 0 || strcmp(execute, "block-stream") == 0)
        return job_begin(qemu, args, strcmp(execute, "block-commit") == 0);
    job = job_find(qemu, state_str(args, block ? "device" : "id"));
    if (!job || (block && !job->top && job->state != SIM_JOB_CONCLUDED))
        return "Job not found";
    if (block || strcmp(execute, "job-cancel") == 0)
        return job_cancel(qemu, job, !block || json_is_true(json_object_get(args, "force")));
    if (strcmp(execute, "job-complete") == 0 && job->state == SIM_JOB_READY) {
        if (job->finalize) {
            job_finish(qemu, job);
        } else {
            job_move(job, 0, SIM_BLOCKS);
            sim_job_enter(qemu, job, SIM_JOB_PENDING);
        }
    } else if (strcmp(execute, "job-finalize") == 0 && job->state == SIM_JOB_PENDING) {
        job_finish(qemu, job);
    } else if (strcmp(execute, "job-dismiss") == 0 && job->state == SIM_JOB_CONCLUDED) {
        job_tell(qemu, job, "null");
        job_free(qemu, job);
    } else {
        return "Job in this state cannot accept that command verb";
    }
    return NULL;
}

json_t *sim_jobs_list(const struct sim_qemu *qemu)
{
    json_t *list = json_array();

    for (const struct sim_job *job = qemu->jobs; job; job = job->next) {
        int moved = job->state != SIM_JOB_RUNNING ? SIM_JOB_BYTES : (int)job->ticks * 100;

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:s*}", "id", job->id, "type",
                                              job->type, "status", job_state_name[job->state],
                                              "current-progress", moved, "total-progress",
                                              SIM_JOB_BYTES, "error", job->error));
    }
    return list;
}
