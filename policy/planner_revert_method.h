/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_revert_method: by which method a revert goes.
 *
 * Model: methods in the order in which they are preferred; the first one against which nothing speaks is
 * taken, or the one that was asked for by name; replace only so.  The plan's "reasons" say, a sentence a method, why it was
 * taken, or what speaks against it.
 */
#ifndef POLICY_PLANNER_REVERT_METHOD_H
#define POLICY_PLANNER_REVERT_METHOD_H

#include "policy/planner_revert_internal.h"
#include "qmp/err.h"

#define REVERT_IN_PLACE "in-place"
#define REVERT_RESPAWN "respawn"
#define REVERT_REPLACE "replace"

/* Sets method and reasons; "method-unavailable" with what speaks against the one asked for.  memory and
 * target are set. */
bool revert_choose_method(struct revert *revert, const json_t *request, struct err *err);

#endif
