/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second QEMU of a revert has ended when the first one was gone: nobody is left, but what the guest was to go
 * on with is there: the memory's file, and overlays that nobody has written to.  A third one is started as the
 * second was, loads, is verified, and becomes the VM; what is behind the switch follows.
 *
 * A second one that has run, and written to its overlays, was the VM: its end is the VM's end.
 */
#include <string.h>

#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_recover_internal.h"
#include "policy/planner_revert_method.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

/* A QEMU that dies again and again is not started for ever. */
#define RELAUNCH_TRIES 2

bool planner_can_relaunch(const json_t *plan, const json_t *state)
{
    const char *method = state_str(plan, "method");

    return method && strcmp(method, REVERT_IN_PLACE) != 0 && plan_has_step(plan, "process-start") &&
           !state_is_after(state, json_object_get(plan, "after")) &&
           json_integer_value(json_object_get(plan, "relaunched")) < RELAUNCH_TRIES;
}

void planner_note_relaunch(json_t *plan)
{
    json_int_t before = json_integer_value(json_object_get(plan, "relaunched"));

    json_object_set_new(plan, "relaunched", json_integer(before + 1));
}

bool planner_is_relaunch(const json_t *journal)
{
    return json_object_get(json_object_get(journal, "plan"), "relaunched") != NULL;
}

static json_t *relaunch_copy(struct recovery *recovery, const json_t *step)
{
    static const char *const gone[] = { "undo", "commit-point", "can-return", "restart", "main" };
    json_t *copy = json_deep_copy(step);

    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        json_object_del(copy, gone[i]);
    return plan_add(recovery->plan, copy);
}

/* What a load has written into is made anew. */
static void relaunch_scratch(struct recovery *recovery, const json_t *step)
{
    json_t *file = json_object_get(json_object_get(step, "args"), "file");

    plan_add(recovery->plan, step_deed("file-remove", json_string_value(file),
                                       json_pack("{s:O}", "file", file)));
    relaunch_copy(recovery, step);
}

/* From the start of the second QEMU to where it was verified. */
static void relaunch_start(struct recovery *recovery)
{
    bool started = false;
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        const char *name = state_str(step, "step");

        started = started || strcmp(name, "process-start") == 0;
        if (!started && strcmp(name, "vmstate-create") == 0)
            relaunch_scratch(recovery, step);
        if (started && (strcmp(name, "clients-hold") == 0 || strcmp(name, "commit") == 0))
            break;
        if (started && strcmp(name, "settings-carry") == 0)
            step_lenient(relaunch_copy(recovery, step)); /* the guest is worth more */
        else if (started)
            relaunch_copy(recovery, step);
    }
}

/* From the switch on. */
static void relaunch_go_on(struct recovery *recovery)
{
    bool switched = false;
    json_t *step, *copy;
    size_t i;

    json_array_foreach(json_object_get(recovery->old, "steps"), i, step) {
        bool of_switch = strcmp(state_str(step, "step"), "process-switch") == 0;

        switched = switched || of_switch;
        if (!switched)
            continue;
        copy = relaunch_copy(recovery, step);
        if (of_switch)
            step_main(copy, "begins");
    }
}

void recovery_relaunch(struct recovery *recovery)
{
    json_t *made = json_object_get(recovery->old, "made"), *step;
    size_t i;

    json_object_set_new(recovery->plan, "main-gone", json_true());
    if (made)
        plan_add(recovery->plan, step_deed("stood-still", NULL, json_pack("{s:O}", "prints", made)));
    json_array_foreach(json_object_get(recovery->old, "steps"), i, step)
        if (strcmp(state_str(step, "step"), "memory-check") == 0)
            relaunch_copy(recovery, step);
    step_restart(plan_add(recovery->plan, step_deed("process-discard", NULL, json_object())));
    relaunch_start(recovery);
    relaunch_go_on(recovery);
    recovery_describe(recovery);
}
