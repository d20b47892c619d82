/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-revert.  By respawn: a second QEMU is started on new overlays, loads the saved memory and
 * is verified, all while the first one runs on and knows nothing of it.  Then: clients wait, the
 * first is stopped and ended, the second goes on in its place.  Until the first has ended every
 * failure throws the second one away.  By replace: see planner_revert_replace.c.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/config_args.h"
#include "policy/disks.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_late.h"
#include "policy/planner_memory.h"
#include "policy/planner_revert_internal.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"

static bool revert_check_method(struct revert *revert, const json_t *request, struct err *err)
{
    const char *method = state_str(request, "method");

    if (!revert->world->args) {
        err_set(err, REASON_METHOD_UNAVAILABLE, "A revert needs a new QEMU process, which an attached "
                "proxy cannot start: run QEMU as 'qmp-proxy -- qemu-system-x86_64 ...'");
        return false;
    }
    revert->replace = method && strcmp(method, "replace") == 0;
    if (!method || revert->replace || strcmp(method, "auto") == 0 || strcmp(method, "respawn") == 0)
        return true;
    err_set(err, REASON_METHOD_UNAVAILABLE, "The method '%s' is not available yet: use respawn or "
            "replace, or leave it out", method);
    err_name(err, "method", method);
    return false;
}

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

static bool revert_overlays(struct revert *revert, struct err *err)
{
    const char *key;
    json_t *layer;

    if (!revert_disks(revert, err))
        return false;
    json_object_foreach(json_object_get(revert->snapshot, "disks"), key, layer) {
        const char *id = json_string_value(layer), *overlay;

        if (!layers_check_headers(revert->world, revert->after, id, err) ||
            !layers_check_foreign(revert->world, revert->after, id, err) ||
            !disks_check_frozen(revert->world, revert->after, id, err))
            return false;
        overlay = overlay_plan(revert->world, revert->after, id, err);
        if (!overlay)
            return false;
        plan_add(revert->plan, overlay_step(revert->after, overlay));
        json_object_set_new(revert->actives, key, json_string(overlay));
        if (json_object_get(revert->attached, key))
            json_object_set_new(revert->attached, key, json_string(overlay));
        json_object_set_new(state_disk(revert->after, key), "active", json_string(overlay));
    }
    return true;
}

static void revert_add_process(json_t *plan, char *const argv[])
{
    json_t *words = json_array();
    json_t *step;

    for (size_t i = 0; argv[i]; i++)
        json_array_append_new(words, json_string(argv[i]));
    step = step_deed("process-start", argv[0], json_pack("{s:o}", "argv", words));
    step_undo(step, step_deed("process-discard", argv[0], json_object()));
    plan_add(plan, step);
}

bool revert_add_start(json_t *plan, const struct args *args, const json_t *state, const json_t *actives,
                      bool memory, struct err *err)
{
    char **argv = layers_rewrite(args, state, actives, memory ? LAYERS_INCOMING : LAYERS_PAUSED, NULL,
                                 NULL, err);

    if (argv)
        revert_add_process(plan, argv);
    args_strv_free(argv);
    return argv != NULL;
}

/* Beside the first one: what only one can have it gets when the first has ended. */
static bool revert_start(struct revert *revert, struct err *err)
{
    char **argv;

    if (revert->replace)
        return revert_add_start(revert->plan, revert->args, revert->after, revert->actives,
                                revert->memory != NULL, err);
    argv = planner_late_rewrite(revert->world, revert->args, revert->after, revert->actives,
                                revert->memory ? LAYERS_INCOMING : LAYERS_PAUSED, &revert->late, err);
    if (argv)
        revert_add_process(revert->plan, argv);
    args_strv_free(argv);
    return argv != NULL;
}

static void revert_load(struct revert *revert)
{
    /* A disk that both processes have open is locked by the first one until it ends. */
    if (revert->memory && revert->excluded && !revert->replace)
        plan_add(revert->plan,
                 step_command("load-capabilities", "next", NULL, "migrate-set-capabilities",
                              json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
                                        "late-block-activate", "state", 1),
                              json_pack("{s:s, s:{s:b}}", "is", "capabilities", "equal",
                                        "late-block-activate", 1)));
    planner_memory_load(revert->plan, revert->memory);
}

json_t *revert_hold(void)
{
    json_t *step = step_deed("clients-hold", NULL, json_object());

    step_undo(step, step_deed("clients-release", NULL, json_object()));
    return step;
}

static void revert_switch(struct revert *revert)
{
    bool running = strcmp(world_status(revert->world), "running") == 0;
    json_t *step;

    plan_add(revert->plan, revert_hold());
    if (running) {
        step = planner_stop();
        step_undo(step, planner_cont());
        plan_add(revert->plan, step);
    }
    /* An answer is the only proof that it lives: the end of a process is heard of later. */
    plan_add(revert->plan, step_wait("check-next", "next", NULL,
                                     expect_status(revert->memory ? "paused" : "prelaunch", NULL)));
    step = step_deed("commit", NULL, json_object());
    step_commit_point(step);
    plan_add(revert->plan, step);
    /* Refused when the second QEMU has just died: then the first one can still go on. */
    step = step_deed("process-end", NULL, json_object());
    json_object_set_new(step, "can-return", json_true());
    plan_add(revert->plan, step);
    plan_add(revert->plan, step_deed("process-switch", NULL, json_object()));
}

static void revert_bind_late(struct revert *revert)
{
    config_late(json_object_get(revert->snapshot, "config"), revert->late);
    planner_late_bind(revert->plan, revert->late);
}

/* 7.2 has opened the images at the end of the load, 10.0 waits for cont or for this. */
json_t *revert_activate(const struct world *world)
{
    if (world->version[0] < 10)
        return NULL;
    return step_lenient(step_command("activate", "qemu", NULL, "blockdev-set-active",
                                     json_pack("{s:b}", "active", 1), json_pack("{s:s}", "is", "any")));
}

void revert_add_activate(json_t *plan, const struct world *world)
{
    json_t *step = revert_activate(world);

    if (step)
        plan_add(plan, step);
}

static void revert_go_on(struct revert *revert)
{
    if (strcmp(revert->target, "running") == 0)
        plan_add(revert->plan, planner_cont());
    else if (revert->memory)
        revert_add_activate(revert->plan, revert->world);
}

static void revert_finish(struct revert *revert)
{
    json_t *garbage;

    json_object_set_new(revert->after, "current", json_string(revert->name));
    json_object_set(revert->after, "config", json_object_get(revert->snapshot, "config"));
    garbage = state_collect_garbage(revert->after);
    if (revert->replace)
        revert_replace_garbage(revert, garbage);
    /* The journal says as much as the record will: nobody has to wait for the disk. */
    plan_add(revert->plan, step_deed("clients-release", NULL, json_object()));
    plan_add(revert->plan, step_deed("state-write", NULL, json_object()));
    plan_add(revert->plan,
             step_lenient(step_deed("files-remove", NULL, json_pack("{s:o}", "files", garbage))));
    json_object_set_new(revert->plan, "method", json_string(revert->replace ? "replace" : "respawn"));
    json_object_set_new(revert->plan, "run-state", json_string(revert->target));
    state_advance(revert->after);
    plan_set_running(revert->plan, world_status(revert->world));
    json_object_set(revert->plan, "after", revert->after);
}

static bool revert_plan(struct revert *revert, const json_t *request, struct err *err)
{
    if (!revert_check_method(revert, request, err) || !revert_check_snapshot(revert, err) ||
        !revert_check_unsaved(revert, request, err) || !disks_check_jobs(revert->world, err) ||
        !disks_check_all(revert->world, revert->after, err))
        return false;
    revert_choose_target(revert, request);
    if (!revert_parse_args(revert, err) || !revert_check_excluded(revert, err) ||
        (revert->replace && !revert_check_replace(revert, request, err)))
        return false;
    revert->plan = plan_new("snapshot-revert", revert->name);
    if (revert->memory)
        plan_add(revert->plan, step_deed("memory-check", state_str(revert->memory, "file"),
                                         json_deep_copy(revert->memory)));
    if (!revert_overlays(revert, err))
        return false;
    if (revert->replace)
        revert_replace_first(revert);
    if (!revert_start(revert, err))
        return false;
    revert_load(revert);
    plan_add(revert->plan, step_wait("check-disks", "next", NULL,
                                     layers_expect(revert->after, revert->attached)));
    planner_check_devices(revert->plan, "next", json_object_get(revert->snapshot, "config"));
    if (revert->replace) {
        revert_replace_take_over(revert);
    } else {
        revert_switch(revert);
        revert_bind_late(revert);
    }
    revert_go_on(revert);
    revert_finish(revert);
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
    json_decref(revert.present);
    json_decref(revert.way_back);
    return revert.plan;
}
