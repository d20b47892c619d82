/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-revert by another process.  respawn: a second QEMU is started on new overlays, loads the saved
 * memory and is verified, all while the first one runs on and knows nothing of it.  Then: clients wait, the
 * first is stopped and ended, the second goes on in its place.  Until the first has ended every failure
 * throws the second one away.  replace: see planner_revert_replace.c.
 */
#include <string.h>

#include "policy/config_args.h"
#include "policy/fit.h"
#include "policy/plan.h"
#include "policy/planner_late.h"
#include "policy/planner_layers.h"
#include "policy/planner_memory.h"
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

static bool revert_is_replace(const struct revert *revert)
{
    return strcmp(revert->method, REVERT_REPLACE) == 0;
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
                      bool incoming, struct err *err)
{
    char **argv = layers_rewrite(args, state, actives, incoming ? LAYERS_INCOMING : LAYERS_PAUSED, NULL,
                                 NULL, err);

    if (argv)
        revert_add_process(plan, argv);
    args_strv_free(argv);
    return argv != NULL;
}

/* Beside the first one: what only one can have it gets when the first has ended. */
static bool revert_start(struct revert *revert, struct err *err)
{
    bool incoming = revert_is_incoming(revert);
    char **argv;

    if (revert_is_replace(revert))
        return revert_add_start(revert->plan, revert->args, revert->after, revert->actives, incoming, err);
    argv = planner_late_rewrite(revert->world, revert->args, revert->after, revert->actives,
                                incoming ? LAYERS_INCOMING : LAYERS_PAUSED, &revert->late, err);
    if (argv)
        revert_add_process(revert->plan, argv);
    args_strv_free(argv);
    return argv != NULL;
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
    if (revert->memory)
        plan_add(revert->plan, step_wait("check-fit", "next", NULL, fit_expect(revert->snapshot)));
    /* A disk that both processes have open is locked by the first one until it ends. */
    if (revert_is_incoming(revert) && revert->excluded && !revert_is_replace(revert))
        plan_add(revert->plan,
                 step_command("load-capabilities", "next", NULL, "migrate-set-capabilities",
                              json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
                                        "late-block-activate", "state", 1),
                              json_pack("{s:s, s:{s:b}}", "is", "capabilities", "equal",
                                        "late-block-activate", 1)));
    planner_memory_load(revert->plan, revert_is_incoming(revert) ? revert->memory : NULL);
    if (vmstate_is(revert->memory))
        revert_load_vmstate(revert);
}

void revert_add_verified(json_t *plan, const struct world *world, const json_t *state,
                         const json_t *attached, const json_t *config)
{
    plan_add(plan, step_wait("check-disks", "next", NULL, layers_expect(state, attached)));
    planner_check_devices(plan, "next", config);
    plan_add(plan, step_deed("settings-carry", NULL, settings_of(world)));
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
        step_undo(step, planner_cont_back());
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
    config_late(json_object_get(revert->snapshot, "config"), revert->late);
    planner_late_bind(revert->plan, revert->late);
}

/* 7.2 has opened the images at the end of the load, 10.0 waits for cont or for this. */
json_t *revert_activate(int major)
{
    if (major < 10)
        return NULL;
    return step_lenient(step_command("activate", "qemu", NULL, "blockdev-set-active",
                                     json_pack("{s:b}", "active", 1), json_pack("{s:s}", "is", "any")));
}

void revert_add_activate(json_t *plan, const struct world *world)
{
    int version[2];
    json_t *step;

    fit_version(world, version);
    step = revert_activate(version[0]);
    if (step)
        plan_add(plan, step);
}

static void revert_go_on(struct revert *revert)
{
    if (strcmp(revert->target, "running") == 0)
        plan_add(revert->plan, planner_cont());
    else if (revert_is_incoming(revert))
        revert_add_activate(revert->plan, revert->world);
}

static void revert_finish(struct revert *revert)
{
    json_t *garbage;

    json_object_set_new(revert->after, "current", json_string(revert->name));
    json_object_set(revert->after, "config", json_object_get(revert->snapshot, "config"));
    json_object_set(revert->after, "args", json_object_get(revert->snapshot, "args"));
    garbage = state_collect_garbage(revert->after);
    if (revert_is_replace(revert))
        revert_replace_garbage(revert, garbage);
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

static bool revert_check_vmstate(const struct revert *revert, struct err *err)
{
    if (!revert->excluded || !vmstate_is(revert->memory) || revert_is_replace(revert))
        return true;
    err_set(err, REASON_METHOD_UNAVAILABLE, "Snapshot '%s' does not cover all writable disks, and a "
            "vmstate cannot be loaded by a second QEMU while the first has one of them open",
            revert->name);
    return false;
}

bool revert_by_process(struct revert *revert, const json_t *request, struct err *err)
{
    bool replace = revert_is_replace(revert);

    if (revert->memory && !fit_check_program(revert->world, revert->snapshot, err))
        return false;
    if (!revert_parse_args(revert, err) || !revert_check_excluded(revert, err) ||
        !revert_check_vmstate(revert, err) || (replace && !revert_check_replace(revert, request, err)))
        return false;
    if (revert->memory)
        plan_add(revert->plan, step_deed("memory-check", state_str(revert->memory, "file"),
                                         json_deep_copy(revert->memory)));
    if (vmstate_is(revert->memory))
        plan_add(revert->plan, vmstate_create_scratch(json_string_value(revert->scratch), revert->memory));
    if (!revert_overlays(revert, err))
        return false;
    if (replace)
        revert_replace_first(revert);
    if (!revert_start(revert, err))
        return false;
    revert_load(revert);
    revert_add_verified(revert->plan, revert->world, revert->after, revert->attached,
                        json_object_get(revert->snapshot, "config"));
    if (replace)
        revert_replace_take_over(revert);
    else
        revert_switch(revert);
    revert_go_on(revert);
    revert_finish(revert);
    return true;
}
