/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_memory.h"

#include "policy/plan.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

#define MEMORY_FD "qsnap-memory"
#define MEMORY_URI "fd:" MEMORY_FD

static json_t *memory_getfd(const char *on, const char *file, const char *flags)
{
    json_t *step = step_command("getfd", on, file, "getfd", json_pack("{s:s}", "fdname", MEMORY_FD),
                                json_pack("{s:s}", "is", "any"));

    step_fd(step, file, flags);
    return step;
}

void planner_memory_prepare(const struct world *world, json_t *plan, const char *file, bool background)
{
    json_t *step = step_deed("memory-create", file, json_pack("{s:s}", "file", file));

    step_undo(step, step_deed("file-remove", file, json_pack("{s:s, s:b}", "file", file, "own", 1)));
    plan_add(plan, step);
    planner_migration_settings(world, plan, background);
    step = memory_getfd("qemu", file, "write");
    /* Once the migration has begun the descriptor is no longer there to be closed. */
    step_undo(step, step_lenient(step_command("closefd", "qemu", NULL, "closefd",
                                              json_pack("{s:s}", "fdname", MEMORY_FD),
                                              json_pack("{s:s}", "is", "any"))));
    plan_add(plan, step);
}

void planner_memory_save(const struct world *world, json_t *plan, const char *file, bool background)
{
    json_t *step = step_command("migrate", "qemu", file, "migrate",
                                json_pack("{s:s}", "uri", MEMORY_URI),
                                json_pack("{s:s, s:[s]}", "is", "migrated", "final", "completed"));

    json_object_set_new(step, "bytes", json_integer(planner_ram_bytes(world)));
    step_timeout(step, 0);
    step_undo(step, step_command("migrate-cancel", "qemu", NULL, "migrate_cancel", NULL,
                                 /* behind a create's transaction the guest runs again */
                                 json_pack("{s:s, s:[s,s,s]}", "is", "status", "in", "postmigrate",
                                           "paused", "running")));
    plan_add(plan, step);
    plan_add(plan, step_wait("migrate-end", "qemu", NULL,
                             expect_status(background ? "paused" : "postmigrate", NULL)));
}

void planner_memory_load(json_t *plan, const json_t *memory)
{
    const char *file = state_str(memory, "file");
    json_t *step;

    if (!memory) {
        plan_add(plan, step_wait("started", "next", NULL, expect_status("prelaunch", NULL)));
        return;
    }
    plan_add(plan, memory_getfd("next", file, "read"));
    step = step_command("migrate-incoming", "next", file, "migrate-incoming",
                        json_pack("{s:s}", "uri", MEMORY_URI),
                        json_pack("{s:s, s:[s]}", "is", "migrated", "final", "completed"));
    step_timeout(step, 0);
    json_object_set(step, "bytes", json_object_get(memory, "size"));
    plan_add(plan, step);
    plan_add(plan, step_wait("loaded", "next", NULL, expect_status("paused", NULL)));
}
