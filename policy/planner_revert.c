/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-revert: what all methods share, and respawn: a second QEMU is started on new overlays, loads the saved memory and
 * is verified, all while the first one runs on and knows nothing of it.  Then: clients wait, the
 * first is stopped and ended, the second goes on in its place.  Until the first has ended every
 * failure throws the second one away.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/config_args.h"
#include "policy/disks.h"
#include "policy/fit.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_inplace.h"
#include "policy/planner_late.h"
#include "policy/planner_revert_internal.h"
#include "policy/planner_revert_method.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/settings.h"
#include "policy/state.h"
#include "policy/vmstate.h"

/* Where the second QEMU has a vmstate open, and the job that loads it. */
#define REVERT_NODE "qsnap-load"
#define REVERT_JOB "qsnap-load"

/* How long the guest stands still for a second QEMU that does not answer any more. */
#define REVERT_STANDSTILL_MS 3000

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

static bool revert_overlays(struct revert *revert, struct err *err)
{
    const char *key;
    json_t *layer;

    if (!revert_disks(revert, err))
        return false;
    json_object_foreach(json_object_get(revert->snapshot, "disks"), key, layer)
        if (!revert_overlay(revert, key, json_string_value(layer), err))
            return false;
    return true;
}

/* Does the second QEMU wait for a stream?  Then it is paused when that is in; otherwise it has never run. */
static bool revert_is_incoming(const struct revert *revert)
{
    return revert->memory && !vmstate_is(revert->memory);
}

static bool revert_start(struct revert *revert, struct err *err)
{
    char **argv = planner_late_rewrite(revert->world, revert->args, revert->after, revert->actives,
                                       revert_is_incoming(revert) ? LAYERS_INCOMING
                                                                  : LAYERS_PAUSED,
                                       &revert->late, err);
    json_t *words = json_array();
    json_t *step;

    if (!argv) {
        json_decref(words);
        return false;
    }
    for (size_t i = 0; argv[i]; i++)
        json_array_append_new(words, json_string(argv[i]));
    step = step_deed("process-start", argv[0], json_pack("{s:o}", "argv", words));
    step_undo(step, step_deed("process-discard", argv[0], json_object()));
    plan_add(revert->plan, step);
    args_strv_free(argv);
    return true;
}

/* The scratch file is made before, so that one that is in the way is seen before anything changes. */
static void revert_load_vmstate(struct revert *revert)
{
    json_t *plan = revert->plan;

    plan_add(plan, vmstate_open_scratch("next", REVERT_NODE, json_string_value(revert->scratch),
                                        state_str(revert->memory, "file")));
    plan_add(plan, vmstate_load("memory-load", "next", REVERT_JOB, REVERT_NODE,
                                json_integer_value(json_object_get(revert->memory, "size"))));
    plan_add(plan, vmstate_dismiss("next", REVERT_JOB));
    plan_add(plan, step_command("vmstate-close", "next", REVERT_NODE, "blockdev-del",
                                json_pack("{s:s}", "node-name", REVERT_NODE),
                                expect_node(REVERT_NODE, false)));
}

static void revert_load(struct revert *revert)
{
    const char *file = state_str(revert->memory, "file");
    json_t *step;

    if (revert->memory)
        plan_add(revert->plan, step_wait("check-fit", "next", NULL, fit_expect(revert->snapshot)));
    if (!revert_is_incoming(revert)) {
        plan_add(revert->plan, step_wait("started", "next", NULL,
                                         expect_status("prelaunch", NULL)));
        if (revert->memory)
            revert_load_vmstate(revert);
        return;
    }
    /* A disk that both processes have open is locked by the first one until it ends. */
    if (revert->excluded)
        plan_add(revert->plan,
                 step_command("load-capabilities", "next", NULL, "migrate-set-capabilities",
                              json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
                                        "late-block-activate", "state", 1),
                              json_pack("{s:s, s:{s:b}}", "is", "capabilities", "equal",
                                        "late-block-activate", 1)));
    step = step_command("getfd", "next", file, "getfd", json_pack("{s:s}", "fdname", "qsnap-memory"),
                        json_pack("{s:s}", "is", "any"));
    step_fd(step, file, "read");
    plan_add(revert->plan, step);
    step = step_command("migrate-incoming", "next", file, "migrate-incoming",
                        json_pack("{s:s}", "uri", "fd:qsnap-memory"),
                        json_pack("{s:s, s:[s]}", "is", "migrated", "final", "completed"));
    step_timeout(step, 0);
    json_object_set(step, "bytes", json_object_get(revert->memory, "size"));
    plan_add(revert->plan, step);
    plan_add(revert->plan, step_wait("loaded", "next", NULL, expect_status("paused", NULL)));
}

static void revert_switch(struct revert *revert)
{
    bool running = strcmp(world_status(revert->world), "running") == 0;
    json_t *step;

    plan_add(revert->plan, step_deed("settings-carry", NULL, settings_of(revert->world)));
    step = step_deed("clients-hold", NULL, json_object());
    step_undo(step, step_deed("clients-release", NULL, json_object()));
    plan_add(revert->plan, step);
    if (running) {
        step = planner_stop();
        step_undo(step, planner_cont());
        plan_add(revert->plan, step);
    }
    /* An answer is the only proof that it lives: the end of a process is heard of later. */
    step = step_wait("check-next", "next", NULL,
                     expect_status(revert_is_incoming(revert) ? "paused" : "prelaunch", NULL));
    step_timeout(step, REVERT_STANDSTILL_MS);
    plan_add(revert->plan, step);
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

static void revert_go_on(struct revert *revert)
{
    int version[2];

    fit_version(revert->world, version);
    if (strcmp(revert->target, "running") == 0)
        plan_add(revert->plan, planner_cont());
    else if (revert_is_incoming(revert) && version[0] >= 10)
        /* 7.2 has opened the images at the end of the load, 10.0 waits for cont or for this. */
        plan_add(revert->plan,
                 step_lenient(step_command("activate", "qemu", NULL, "blockdev-set-active",
                                           json_pack("{s:b}", "active", 1),
                                           json_pack("{s:s}", "is", "any"))));
}

static void revert_finish(struct revert *revert)
{
    json_t *garbage;

    json_object_set_new(revert->after, "current", json_string(revert->name));
    json_object_set(revert->after, "config", json_object_get(revert->snapshot, "config"));
    garbage = state_collect_garbage(revert->after);
    /* The journal says as much as the record will: nobody has to wait for the disk. */
    plan_add(revert->plan, step_deed("clients-release", NULL, json_object()));
    plan_add(revert->plan, step_deed("state-write", NULL, json_object()));
    plan_add(revert->plan,
             step_lenient(step_deed("files-remove", NULL, json_pack("{s:o}", "files", garbage))));
    if (vmstate_is(revert->memory))
        plan_add(revert->plan, step_lenient(step_deed("file-remove",
                                                      json_string_value(revert->scratch),
                                                      json_pack("{s:O}", "file",
                                                                revert->scratch))));
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

static bool revert_respawn(struct revert *revert, struct err *err)
{
    if (revert->memory && !fit_check_program(revert->world, revert->snapshot, err))
        return false;
    if (!revert_parse_args(revert, err) || !revert_check_excluded(revert, err))
        return false;
    if (revert->excluded && vmstate_is(revert->memory)) {
        err_set(err, REASON_METHOD_UNAVAILABLE, "Snapshot '%s' does not cover all writable disks, and a "
                "vmstate cannot be loaded by a second QEMU while the first has one of them open",
                revert->name);
        return false;
    }
    if (revert->memory)
        plan_add(revert->plan, step_deed("memory-check", state_str(revert->memory, "file"),
                                         json_deep_copy(revert->memory)));
    if (vmstate_is(revert->memory))
        plan_add(revert->plan, vmstate_create_scratch(json_string_value(revert->scratch), revert->memory));
    if (!revert_overlays(revert, err) || !revert_start(revert, err))
        return false;
    revert_load(revert);
    plan_add(revert->plan, step_wait("check-disks", "next", NULL,
                                     layers_expect(revert->after, revert->attached)));
    planner_check_devices(revert->plan, "next", json_object_get(revert->snapshot, "config"));
    revert_switch(revert);
    revert_bind_late(revert);
    revert_go_on(revert);
    revert_finish(revert);
    return true;
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
                                                     : !revert_respawn(revert, err))
        return false;
    revert_describe(revert);
    return true;
}

json_t *planner_revert(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err)
{
    struct revert revert = {
        .world = world,
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
    return revert.plan;
}
