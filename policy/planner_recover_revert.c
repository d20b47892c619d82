/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an interrupted revert has left to do, or to take back. */
#include "policy/planner_recover_internal.h"

#include <string.h>

#include "policy/plan.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

void recovery_finish(struct recovery *recovery)
{
    bool behind = false, switched = recovery->world->next == WORLD_NEXT_NONE;
    bool create = strcmp(state_str(recovery->old, "operation"), "snapshot-create") == 0;
    /* By the operation, which could not remove its journal: meanwhile the record may be a newer one. */
    bool recorded = state_is_after(recovery->state, json_object_get(recovery->old, "after"));
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        const char *name = state_str(step, "step");
        bool of_switch = strcmp(name, "process-end") == 0 || strcmp(name, "process-switch") == 0;
        bool written = strcmp(name, "state-write") == 0 && recorded;

        if (behind && !written && !(switched && of_switch))
            plan_add(recovery->plan, json_deep_copy(step));
        behind = behind || json_is_true(json_object_get(step, "commit-point"));
    }
    /* The record may have been written by a recovery that was interrupted itself, without the snapshot. */
    if (create && json_is_true(json_object_get(recovery->old, "running")))
        plan_add(recovery->plan, step_lenient(planner_cont()));
    if (!create || state_snapshot(recovery->state, state_str(recovery->old, "name")))
        json_object_set(recovery->plan, "after", json_object_get(recovery->old, "after"));
    json_object_set(recovery->plan, "deleted", json_object_get(recovery->old, "deleted"));
    json_object_set(recovery->plan, "method", json_object_get(recovery->old, "method"));
    json_object_set(recovery->plan, "run-state", json_object_get(recovery->old, "run-state"));
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
