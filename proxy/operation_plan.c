/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan of an operation's stage. */
#include <assert.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "proxy/operation_internal.h"

/* new: the first stage of a revert with save-as.  The revert has to be possible as well, as far as
 * can be told now; a dry run shows the steps of both. */
static json_t *operation_plan_save_as(struct operation *op, struct err *err)
{
    const json_t *state = op->daemon->store->state;
    json_t *revert = planner_revert(&op->world, state, op->request, err);
    json_t *request = json_copy(op->request), *plan = NULL;

    /* A stream would leave the images of this process let go of. */
    if (revert && strcmp(state_str(revert, "method"), "in-place") == 0)
        json_object_set_new(request, "memory", json_string("vmstate"));
    if (revert)
        plan = planner_save_as(&op->world, state, request, err);
    if (plan && op->dry_run) {
        json_array_extend(json_object_get(plan, "steps"), json_object_get(revert, "steps"));
        json_object_set(plan, "method", json_object_get(revert, "method"));
        json_object_set(plan, "reasons", json_object_get(revert, "reasons"));
    }
    json_decref(request);
    json_decref(revert);
    return plan;
}

bool operation_plan(struct operation *op, struct err *err)
{
    const json_t *state = op->daemon->store->state;
    json_t *request;

    switch (op->stage) {
    case STAGE_SAVE_AS:
        op->plan = operation_plan_save_as(op, err);
        break;
    case STAGE_GO_ON:
        op->plan = plan_new(op->kind, state_str(op->request, "name"));
        plan_add(op->plan, planner_cont());
        break;
    case STAGE_RECOVER:
        op->plan = planner_recover(&op->world, state, op->journal, err);
        break;
    case STAGE_UNSAVE:
        request = json_pack("{s:O}", "name", json_object_get(op->request, "save-as"));
        op->plan = planner_delete(&op->world, state, request, err);
        json_decref(request);
        break;
    default:
        op->plan = strcmp(op->kind, "snapshot-create") == 0
                       ? planner_create(&op->world, state, op->request, err)
                   : strcmp(op->kind, "snapshot-revert") == 0
                       ? planner_revert(&op->world, state, op->request, err)
                       : planner_delete(&op->world, state, op->request, err);
    }
    assert(!op->plan == err->set);
    return op->plan != NULL;
}
