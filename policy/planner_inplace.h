/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_inplace: snapshot-revert without a new process.
 *
 * Model: new overlays are made on the layers of the snapshot and opened while the guest runs.  Then it is
 * stopped; its present state is saved into a file of its own, as the load ends it; the devices are given the
 * overlays, one by one (qom-set drive); the snapshot's memory is loaded (vmstate.h); and the guest goes on.
 * Clients, consoles and serial lines stay connected, as QEMU is the same.
 *
 *     stop
 *     memory-keep      snapshot-save of what is       the way back, until the commit point
 *     drive-switch     each disk, verified            undo: back
 *     memory-load      snapshot-load of the snapshot  undo: drives back, and snapshot-load of what was
 *     (verified: job, disks, devices, run state)
 *     state-write      COMMIT POINT
 *     cont
 *
 * Rules: 1. QEMU dies of a qom-set of the node that a device has already: each asks first (step_needs()).
 *        2. The nodes that devices are taken from are held open (in_place_hold()) until the end.
 *        3. The job of a load is dismissed only behind the commit point, or when what was is loaded again: as
 *           long as it is listed, the memory may be the snapshot's (planner_inplace_recover.c).
 */
#ifndef POLICY_PLANNER_INPLACE_H
#define POLICY_PLANNER_INPLACE_H

#include "policy/planner_revert_internal.h"
#include "qmp/err.h"

#define IN_PLACE_JOB_KEEP "qsnap-keep"
#define IN_PLACE_JOB_LOAD "qsnap-load"
#define IN_PLACE_JOB_RETURN "qsnap-return"

/* Nodes that are there as long as a revert in place is under way; the third begins so. */
#define IN_PLACE_NODE_LOAD "qsnap-load"
#define IN_PLACE_NODE_PRESENT "qsnap-present"
#define IN_PLACE_NODE_HOLD "qsnap-hold-"

/* Names of steps that a restart looks for. */
#define IN_PLACE_SWITCH "drive-switch"
#define IN_PLACE_LOAD "memory-load"
#define IN_PLACE_BACK "drive-return"
#define IN_PLACE_RETURN "memory-return"

/* False: why says what speaks against it. */
bool in_place_possible(const struct revert *revert, struct err *why);

/* Makes the plan; in_place_possible() said yes. */
bool in_place_plan(struct revert *revert, struct err *err);

/* Appends to `plan` what settles an interrupted plan `old`, whose commit point was not reached.  True: only
 * what has to be waited for before that can be told. */
bool in_place_recover(const struct world *world, const json_t *old, json_t *plan);

/* A plan of a revert in place, what takes one back or what settles one has come to an end at that step of `list`, before
 * the commit point: may the guest's memory be that of other disks, or may the next start load what was kept over what the
 * guest has done since? */
bool in_place_tears(const json_t *list, size_t at);

#endif
