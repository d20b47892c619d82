/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_delete_side: merges of layers that the guest does not run on.
 *
 * Model: QEMU does these as well.  The layers of the branch, from the child down to the first one that
 * QEMU has open already (the floor), are opened beside the running chains, under names of their own,
 * and closed again behind the merge:
 *
 *     device -> active -> ... -> floor -> ...        the floor is only read
 *                                  ^
 *     child -> parent -> ... ------+                 opened for the merge
 *
 * The child is opened for writing from the start, so that QEMU's lock keeps everybody else out, and
 * the merge is refused while another process has one of these files open for writing.
 */
#ifndef POLICY_PLANNER_DELETE_SIDE_H
#define POLICY_PLANNER_DELETE_SIDE_H

#include "policy/planner_delete_internal.h"

/* Names of nodes that a merge opens begin so; a restart takes away what is left of them. */
#define DELETE_SIDE_PREFIX "qsnap-side-"

/* Fills in the nodes of a merge on a side branch; state: the record before it. */
void delete_side_name(struct delete *delete, struct delete_merge *at, const json_t *state);

void delete_side_open(struct delete *delete, const struct delete_merge *at);
void delete_side_close(struct delete *delete, const struct delete_merge *at);

#endif
