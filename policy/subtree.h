/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * subtree: which snapshots a delete takes away: the one that it names (children: keep), that one
 * with all that descend from it (include), or only those (only).
 *
 * A subtree that the guest stands in is refused: what would be left of its branch is no snapshot's
 * any more, and the one to go back to would be gone.  Deleting them one by one is always possible.
 */
#ifndef POLICY_SUBTREE_H
#define POLICY_SUBTREE_H

#include <jansson.h>

#include "qmp/err.h"

/* new: an array of names, children before their parents; NULL: refused.  Empty when there is nothing
 * to delete (only, without children). */
json_t *subtree_names(const json_t *state, const char *name, const char *children, struct err *err);

#endif
