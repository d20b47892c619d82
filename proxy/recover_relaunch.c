/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A revert past its commit point whose second QEMU has ended before the guest ran in it: a third one takes its place. */
#include "proxy/recover.h"

#include <string.h>

#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"
#include "proxy/log.h"
#include "proxy/operation.h"
#include "proxy/recover_look.h"

/* Are what a third QEMU would load, and what it would load onto, as the second one had them? */
static bool recover_is_unused(const json_t *plan)
{
    static const char *const deeds[] = { "stood-still", "memory-check" };
    json_t *prints = json_pack("{s:O*}", "prints", json_object_get(plan, "made")), *step, *result = NULL;
    struct err err = ERR_INIT;
    bool ok = deeds_find(deeds[0])(prints, &result, &err);
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(state_str(step, "step"), deeds[1]) == 0)
            ok = ok && deeds_find(deeds[1])(json_object_get(step, "args"), &result, &err);
    if (!ok)
        log_info("the guest boots: %s", err.desc);
    err_clear(&err);
    json_decref(result);
    json_decref(prints);
    return ok;
}

/* A journal may say more than is so: its undo has removed them when it could not be written any more. */
static bool recover_has_overlays(struct daemon *daemon, const json_t *after)
{
    struct world world;
    struct err err = ERR_INIT;
    bool has = recover_look_at(daemon, after, &world, &err) &&
               recover_look_overlays(&world, daemon->store->state, after);

    err_clear(&err);
    json_decref(world.files);
    return has;
}

bool recover_relaunch(struct daemon *daemon)
{
    json_t *journal = NULL, *args, *plan;
    struct err err = ERR_INIT;
    struct world world;
    bool can = store_read_journal(daemon->store, &journal, &err) && journal &&
               planner_journal_committed(journal, daemon->store->state);

    plan = json_object_get(journal, "plan");
    collect_static(daemon, &world);
    args = planner_args(world.given);
    can = can && planner_can_relaunch(plan, daemon->store->state) &&
          json_equal(args, json_object_get(plan, "args")) && recover_is_unused(plan) &&
          recover_has_overlays(daemon, json_object_get(plan, "after"));
    if (can) {
        planner_note_relaunch(plan);
        can = store_write_journal(daemon->store, journal, &err);
    }
    if (can)
        operation_recover(daemon, journal);
    err_clear(&err);
    json_decref(args);
    json_decref(journal);
    return can;
}
