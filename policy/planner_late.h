/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_late: what the second process of a revert gets only when the first has ended
 * (policy/args_rewrite.h: late binding), as a command line and as steps.
 *
 * Model: most of it are QMP commands.  A listening unix socket that no command can give is made by
 * the second process in the state folder, as late-NUMBER-N, where nobody looks for it; the deed
 * socket-move puts it where the user wants it.
 */
#ifndef POLICY_PLANNER_LATE_H
#define POLICY_PLANNER_LATE_H

#include "policy/planner_layers.h"

/* new: layers_rewrite() with room for such sockets; *late: new, for planner_late_bind(). */
char **planner_late_rewrite(const struct world *world, const struct args *args, const json_t *state,
                            const json_t *actives, enum layers_start start, json_t **late,
                            struct err *err);

/* Appends the steps.  None is a reason to give up a guest that is there. */
void planner_late_bind(json_t *plan, const json_t *late);

#endif
