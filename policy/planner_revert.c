/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-revert: what is checked and said whatever the method (planner_revert_method.h).
 */
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_inplace.h"
#include "policy/planner_layers.h"
#include "policy/planner_revert_internal.h"
#include "policy/planner_revert_method.h"
#include "policy/reason.h"
#include "policy/state.h"

static bool revert_check_unsaved(const struct revert *revert, const json_t *request,
                                 struct err *err)
{
    if (json_is_true(json_object_get(request, "discard")))
        return true;
    if (state_str(request, "save-as"))
        return revert_check_unplugged(revert, err);
    err_set(err, REASON_UNSAVED_STATE, "What the guest did since the last snapshot would be lost: "
            "give discard: true to lose it, or save-as to keep it as another snapshot");
    return false;
}

static bool revert_check_snapshot(struct revert *revert, struct err *err)
{
    const char *damaged = state_str(revert->snapshot, "damaged");

    if (damaged) {
        err_set(err, REASON_IMAGE_CHANGED, "Snapshot '%s' is damaged: %s", revert->name, damaged);
    } else if (json_is_true(json_object_get(revert->snapshot, "deleting"))) {
        err_set(err, REASON_DELETING, "Snapshot '%s' is being deleted: delete it again to finish",
                revert->name);
    } else {
        return true;
    }
    err_name(err, "snapshot", revert->name);
    return false;
}

static void revert_choose_target(struct revert *revert, const json_t *request)
{
    const char *state = state_str(request, "state");

    revert->memory = json_object_get(revert->snapshot, "memory");
    revert->target = !state || strcmp(state, "as-saved") == 0
                         ? state_str(revert->snapshot, "run-state") : state;
    if (strcmp(revert->target, "prelaunch") == 0)
        revert->memory = NULL; /* the machine before its first instruction */
    else if (!revert->memory && strcmp(revert->target, "paused") == 0)
        revert->target = "prelaunch"; /* all that a machine without memory can be */
}

bool revert_overlay(struct revert *revert, const char *key, const char *layer, struct err *err)
{
    const char *overlay;

    if (!layers_check_headers(revert->world, revert->after, layer, err) ||
        !layers_check_foreign(revert->world, revert->after, layer, err) ||
        !disks_check_frozen(revert->world, revert->after, layer, err))
        return false;
    overlay = overlay_plan(revert->world, revert->after, layer, err);
    if (!overlay)
        return false;
    plan_add(revert->plan, overlay_step(revert->after, overlay));
    json_object_set_new(revert->actives, key, json_string(overlay));
    if (json_object_get(revert->attached, key))
        json_object_set_new(revert->attached, key, json_string(overlay));
    json_object_set_new(state_disk(revert->after, key), "active", json_string(overlay));
    return true;
}

/* What the plans of all methods say. */
static void revert_describe(struct revert *revert)
{
    json_object_set_new(revert->plan, "method", json_string(revert->method));
    json_object_set(revert->plan, "reasons", revert->reasons);
    json_object_set_new(revert->plan, "run-state", json_string(revert->target));
    state_advance(revert->after);
    plan_set_running(revert->plan, world_status(revert->world));
    json_object_set(revert->plan, "after", revert->after);
}

static bool revert_plan(struct revert *revert, const json_t *request, struct err *err)
{
    if (!revert_check_snapshot(revert, err) || !revert_check_unsaved(revert, request, err) ||
        !disks_check_jobs(revert->world, err) ||
        !disks_check_all(revert->world, revert->after, err))
        return false;
    revert_choose_target(revert, request);
    if (!revert_choose_method(revert, request, err))
        return false;
    revert->plan = plan_new("snapshot-revert", revert->name);
    if (strcmp(revert->method, REVERT_IN_PLACE) == 0 ? !in_place_plan(revert, err)
                                                     : !revert_by_process(revert, request, err))
        return false;
    revert_describe(revert);
    return true;
}

json_t *planner_revert(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err)
{
    struct revert revert = {
        .world = world,
        .state = state,
        .name = state_str(request, "name"),
        .after = json_deep_copy(state),
        .actives = json_object(),
        .attached = json_object(),
        .reasons = json_array(),
        .scratch = json_sprintf("%s/load-%lld.tmp", world->memory_dir,
                                (long long)json_integer_value(json_object_get(state, "counter")) + 1),
    };

    revert.snapshot = state_snapshot_need(state, revert.name, err);
    if (revert.snapshot && !revert_plan(&revert, request, err)) {
        json_decref(revert.plan);
        revert.plan = NULL;
    }
    args_free(revert.args);
    args_disks_clear(&revert.opens);
    json_decref(revert.after);
    json_decref(revert.actives);
    json_decref(revert.attached);
    json_decref(revert.late);
    json_decref(revert.reasons);
    json_decref(revert.scratch);
    json_decref(revert.present);
    json_decref(revert.way_back);
    return revert.plan;
}
