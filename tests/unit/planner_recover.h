/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_recover: a world with an operation that broke off, and the plan that settles it.
 */
#ifndef TESTS_UNIT_PLANNER_RECOVER_H
#define TESTS_UNIT_PLANNER_RECOVER_H

#include "tests/unit/planner_world.h"

#include "policy/state.h"

/* The first disk only, s1 - s2 - s3 without memory; the guest is on s1 again when `back`. */
static inline struct planner_world *world_one(bool back)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char request[] = "{'name': 's1', 'memory': 'none'}";

    json_array_remove(world->vm, 1);
    world_graph(world);
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2");
    for (; request[11] <= '3'; request[11]++)
        world_do(world, planner_create, request);
    if (back)
        world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    return world;
}

/* new: the plan that settles it; well-formed, and the same when it is made again. */
static inline json_t *recover(struct planner_world *world, const json_t *plan, bool committed)
{
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", committed);
    struct err err = ERR_INIT;
    json_t *recovery = planner_recover(&world->w, world->state, journal, &err);
    json_t *again = planner_recover(&world->w, world->state, journal, &err);

    assert_non_null(recovery);
    assert_json(again, recovery);
    assert_true(json_is_true(json_object_get(recovery, "forward-only")));
    json_decref(again);
    json_decref(journal);
    return recovery;
}

static inline const json_t *record_of(const json_t *plan, const char *step)
{
    return json_object_get(json_object_get(plan_step(plan, step, 0), "args"), "state");
}

#endif
