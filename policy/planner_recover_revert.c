/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an interrupted revert has left to do, or to take back. */
#include "policy/planner_recover_internal.h"

#include <string.h>

#include "policy/plan.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

/* Did the operation let the guest go on, as far as that is on record?  Then it is for others to say whether it
 * runs: a client may have stopped it since.  A create and a revert by another process write the record behind
 * their cont; a revert in place, whose record is its commit point, makes a note. */
static bool recovery_went_on(const struct recovery *recovery)
{
    const json_t *old = recovery->old;
    const char *method = state_str(old, "method");

    if (json_is_true(json_object_get(old, "resumed")))
        return true;
    if (!state_is_after(recovery->state, json_object_get(old, "after")))
        return false;
    if (strcmp(state_str(old, "operation"), "snapshot-create") == 0)
        /* Not of one that was adopted, nor where the guest is to stand until a revert. */
        return state_snapshot(recovery->state, state_str(old, "name")) &&
               (plan_has_step(old, "cont") || !plan_has_step(old, "stop"));
    return method && strcmp(method, "in-place") != 0;
}

/* Is the step behind the commit point one that has to be done now? */
static bool recovery_is_due(const struct recovery *recovery, const json_t *step, bool written)
{
    const char *name = state_str(step, "step");

    if (recovery->world->next == WORLD_NEXT_NONE &&
        (strcmp(name, "process-end") == 0 || strcmp(name, "process-switch") == 0))
        return false;
    /* What is on record already is as new as the journal, or newer. */
    if (strcmp(name, "state-write") == 0 && written)
        return false;
    if (strcmp(name, "cont") == 0 && recovery_went_on(recovery))
        return false;
    return !recovery->other || strcmp(state_str(step, "on"), "host") == 0;
}

void recovery_describe(struct recovery *recovery)
{
    static const char *const members[] = { "after", "deleted", "method", "run-state" };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        json_object_set(recovery->plan, members[i], json_object_get(recovery->old, members[i]));
}

void recovery_finish(struct recovery *recovery)
{
    const json_t *after = json_object_get(recovery->old, "after");
    bool behind = false, written = state_is_after(recovery->state, after);
    json_t *step;
    size_t i;

    /* Where the record is the commit point, and the disks say that it should have been written. */
    if (recovery->other && !written)
        plan_add(recovery->plan, step_deed("state-write", NULL, json_pack("{s:O}", "state", after)));
    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        if (behind && recovery_is_due(recovery, step, written))
            plan_add(recovery->plan, json_deep_copy(step));
        behind = behind || json_is_true(json_object_get(step, "commit-point"));
    }
    /* The record may have been written by a recovery that was interrupted itself. */
    if (strcmp(state_str(recovery->old, "operation"), "snapshot-create") == 0 && !recovery->other &&
        json_is_true(json_object_get(recovery->old, "running")) && !recovery_went_on(recovery))
        plan_add(recovery->plan, step_lenient(planner_cont()));
    recovery_describe(recovery);
}

/* Of a revert by replace: what was kept is not the present state once the guest goes on. */
static void recovery_drop_present(struct recovery *recovery)
{
    recovery_undo_of(recovery, "present-keep");
    recovery_undo_of(recovery, "memory-create");
    recovery_undo_of(recovery, "overlay-create");
    recovery_undo_of(recovery, "vmstate-create");
    recovery_undo_of(recovery, "migrate-end");
    recovery_cont(recovery);
    recovery_undo_of(recovery, "migrate-capabilities");
    recovery_undo_of(recovery, "migrate-parameters");
}

void recovery_revert(struct recovery *recovery)
{
    plan_add(recovery->plan, step_deed("process-discard", NULL, json_object()));
    recovery_cancel_migrate(recovery);
    recovery_drop_present(recovery);
    recovery_undo_of(recovery, "getfd");
}

void recovery_return(struct recovery *recovery)
{
    json_object_set_new(recovery->plan, "main-gone", json_true());
    recovery_undo_of(recovery, "process-end");
    recovery_drop_present(recovery);
}
