/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_late.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/plan.h"
#include "policy/state.h"
#include "qmp/alloc.h"

char **planner_late_rewrite(const struct world *world, const struct args *args, const json_t *state,
                            const json_t *actives, enum layers_start start, json_t **late,
                            struct err *err)
{
    char *folder = world_dirname(world->memory_dir);
    char *prefix, **argv;

    /* Short, since a socket's path has 107 bytes at most; another for each process, as the one that
     * runs believes its own sockets to be there still, and removes them when it ends by itself. */
    prefix = alloc_print("%s/late-%llx-", folder, world->now & 0xffffffffffLL);
    argv = layers_rewrite(args, state, actives, start, prefix, late, err);
    free(prefix);
    free(folder);
    return argv;
}

void planner_late_bind(json_t *plan, const json_t *late)
{
    json_t *item;
    size_t i;

    json_array_foreach(late, i, item) {
        json_t *rename = json_object_get(item, "rename");
        json_t *step;

        if (rename)
            step = step_deed("socket-move", state_str(rename, "to"), json_incref(rename));
        else
            step = step_command("bind", "qemu", NULL, state_str(item, "execute"),
                                json_incref(json_object_get(item, "arguments")),
                                json_pack("{s:s}", "is", "any"));
        plan_add(plan, step_lenient(step));
    }
}
