/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An interrupted revert in place, whose QEMU runs on, is taken back.  Its jobs say how far it was: none of
 * QEMU's own is dismissed by anybody else, and what had not begun when the connection broke is dropped.
 *
 *     the load is listed, no return    the memory may be the snapshot's: drives back, what was is loaded
 *     the return is listed, and well   what was is loaded already, onto the disks that it belongs to
 *     neither                          only drives may have been switched
 *
 * Whoever has another monitor may have let the guest run meanwhile, on disks that its memory does not belong to:
 * it is stopped before anything moves, and what was is loaded.
 */
#include <string.h>

#include "policy/plan.h"
#include "policy/planner_inplace.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "policy/vmstate.h"

static const json_t *recover_job(const struct world *world, const char *id)
{
    json_t *job;
    size_t i;

    json_array_foreach(world->jobs, i, job)
        if (state_str(job, "id") && strcmp(state_str(job, "id"), id) == 0)
            return job;
    return NULL;
}

/* A job that has not ended is waited for, however it does.  True: there is one. */
static bool recover_wait(const struct world *world, json_t *plan)
{
    static const char *const ids[] = { IN_PLACE_JOB_KEEP, IN_PLACE_JOB_LOAD, IN_PLACE_JOB_RETURN };
    bool any = false;

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        const json_t *job = recover_job(world, ids[i]);
        json_t *step, *expect;

        if (!job || strcmp(state_str(job, "status"), "concluded") == 0)
            continue;
        expect = expect_job(ids[i], "concluded");
        json_object_set_new(expect, "error-ok", json_true());
        step = step_wait("job-end", "qemu", ids[i], expect);
        step_timeout(step, 0);
        plan_add(plan, step);
        any = true;
    }
    return any;
}

/* A disk is not on a node that is not there.  That is so of all in a QEMU that was started since, which a
 * proxy that is attached may find. */
static bool recover_is_needless(const struct world *world, const json_t *undo)
{
    const char *from = state_str(json_object_get(undo, "needs"), "node");

    return from && !graph_node_find(world->graph, from);
}

/* Appends what takes the steps of that name back, the last one first. */
static void recover_undo(const struct world *world, const json_t *old, const char *name, bool lenient,
                         json_t *plan)
{
    const json_t *steps = json_object_get(old, "steps");
    json_t *undo;
    size_t k;

    for (size_t i = json_array_size(steps); i-- > 0;) {
        const json_t *step = json_array_get(steps, i);

        if (strcmp(state_str(step, "step"), name) != 0)
            continue;
        json_array_foreach(json_object_get(step, "undo"), k, undo) {
            json_t *copy;

            if (recover_is_needless(world, undo))
                continue;
            copy = json_deep_copy(undo);
            plan_add(plan, lenient ? step_lenient(copy) : copy);
        }
    }
}

/* Is a disk on one of the plan's overlays? */
static bool recover_has_moved(const struct world *world, const json_t *old)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(old, "steps"), i, step) {
        const json_t *arguments = json_object_get(json_object_get(step, "command"), "arguments");

        if (strcmp(state_str(step, "step"), IN_PLACE_SWITCH) == 0 && world->graph &&
            graph_disk_by_node(world->graph, state_str(arguments, "value")))
            return true;
    }
    return false;
}

/* True: a guest that runs is stopped first. */
static bool recover_memory(const struct world *world, const json_t *old, json_t *plan)
{
    const json_t *returned = recover_job(world, IN_PLACE_JOB_RETURN);
    bool runs = strcmp(world_status(world), "running") == 0, stops = false;

    if (returned && !json_object_get(returned, "error")) {
        plan_add(plan, vmstate_dismiss("qemu", IN_PLACE_JOB_LOAD));
        plan_add(plan, vmstate_dismiss("qemu", IN_PLACE_JOB_RETURN));
    } else if (recover_job(world, IN_PLACE_JOB_LOAD) || (runs && recover_has_moved(world, old))) {
        stops = runs;
        if (stops)
            plan_add(plan, planner_stop());
        recover_undo(world, old, IN_PLACE_LOAD, false, plan);
    }
    recover_undo(world, old, IN_PLACE_SWITCH, false, plan);
    recover_undo(world, old, "memory-keep", true, plan);
    return stops;
}

bool in_place_recover(const struct world *world, const json_t *old, json_t *plan)
{
    static const char *const nodes[] = { "migrate-capabilities", "hold", "vmstate-open", "blockdev-add" };
    static const char *const files[] = { "vmstate-create", "overlay-create" };
    bool stopped;

    if (recover_wait(world, plan))
        return true;
    stopped = recover_memory(world, old, plan);
    if (stopped || (json_is_true(json_object_get(old, "running")) &&
                    strcmp(world_status(world), "running") != 0))
        plan_add(plan, planner_cont_back());
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        recover_undo(world, old, nodes[i], true, plan);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        recover_undo(world, old, files[i], true, plan);
    return false;
}

static bool tears_is(const json_t *step, const char *name)
{
    return strcmp(state_str(step, "step"), name) == 0;
}

/* A wait for a job that changes memory: not that which keeps what there is. */
static bool tears_is_end(const json_t *step)
{
    const char *job = state_str(step, "target");

    return tears_is(step, "job-end") && (!job || strcmp(job, IN_PLACE_JOB_KEEP) != 0);
}

/* Until the job of the load is dismissed the memory counts as the snapshot's. */
static bool tears_is_dismissal(const json_t *step)
{
    const char *id = state_str(json_object_get(json_object_get(step, "command"), "arguments"), "id");

    return tears_is(step, "job-dismiss") && id && strcmp(id, IN_PLACE_JOB_LOAD) == 0;
}

bool in_place_tears(const json_t *list, size_t at)
{
    bool forward = false, changed = false, returns = false, left = false, back = false;
    json_t *step;
    size_t i;

    json_array_foreach((json_t *)list, i, step) {
        forward = forward || tears_is(step, IN_PLACE_SWITCH);
        changed = changed || (i <= at && (tears_is(step, IN_PLACE_SWITCH) || tears_is(step, IN_PLACE_LOAD)));
        returns = returns || tears_is(step, IN_PLACE_RETURN);
        left = left || (i >= at && (tears_is(step, IN_PLACE_RETURN) || tears_is_dismissal(step) ||
                                    tears_is_end(step)));
        back = back || (i >= at && tears_is(step, IN_PLACE_BACK));
    }
    /* Behind the return the drives are on the disks that it belongs to: more of them need nothing. */
    return forward ? changed : left || (back && !returns);
}
