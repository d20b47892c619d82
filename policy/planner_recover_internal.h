/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_recover_internal: what the files planner_recover*.c share.
 */
#ifndef POLICY_PLANNER_RECOVER_INTERNAL_H
#define POLICY_PLANNER_RECOVER_INTERNAL_H

#include "policy/world.h"

struct recovery {
    const struct world *world;
    const json_t *state;
    const json_t *old;          /* the interrupted plan */
    json_t *plan;
    bool other;                 /* the QEMU that runs is not the one that this plan worked on: nothing in it is ours
                                 * to go on with, and only the files are */
};

/* Does a disk run on that layer, of the plan's or of the record: by its node, or, in a QEMU that was started
 * since, by its file? */
bool recovery_runs_on(const struct recovery *recovery, const json_t *layer);
/* To be asked once: see recovery.other. */
bool recovery_is_other(const struct recovery *recovery);
/* An uncommitted revert in place whose QEMU is gone: the disks of the one that runs say what it has come to. */
void recovery_other_in_place(struct recovery *recovery);

/* Has the QEMU that the plan worked on that node? */
bool recovery_node_exists(const struct recovery *recovery, const char *node);

/* Appends the undo steps of the old plan's steps of that name; where QEMU is another one, those on the host. */
void recovery_undo_of(struct recovery *recovery, const char *name);
/* The guest goes on if it was the operation that had stopped it. */
void recovery_cont(struct recovery *recovery);
/* Ends the migration that the old plan may have begun. */
void recovery_cancel_migrate(struct recovery *recovery);

/* A create before its record was written. */
void recovery_create(struct recovery *recovery);
/* A revert, or anything behind its commit point: what was left to do. */
void recovery_finish(struct recovery *recovery);
/* The first QEMU was ended, and the second has ended too: a third one takes its place. */
void recovery_relaunch(struct recovery *recovery);
/* The plan says of its end what the old one says. */
void recovery_describe(struct recovery *recovery);
/* A revert before its commit point, or whose second QEMU is gone: taken back. */
void recovery_revert(struct recovery *recovery);
/* The first QEMU was ended, and the second is not there: the first one's memory comes back. */
void recovery_return(struct recovery *recovery);

#endif
