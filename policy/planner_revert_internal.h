/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_revert_internal: what the planner_revert*.c files share.
 */
#ifndef POLICY_PLANNER_REVERT_INTERNAL_H
#define POLICY_PLANNER_REVERT_INTERNAL_H

#include "policy/args_disks.h"
#include "policy/world.h"

struct revert {
    const struct world *world;
    const char *name;
    const json_t *snapshot;     /* borrowed from the record */
    const json_t *memory;       /* its memory, when it is to be loaded; else NULL */
    const char *target;         /* run state to end in: running, paused, prelaunch */
    const char *method;         /* planner_revert_method.h */
    json_t *reasons;            /* why that one: sentences */
    bool excluded;              /* a writable disk that the snapshot does not cover */
    struct args *args;          /* the command line at the snapshot, with what clients had changed */
    struct args_disks opens;    /* its disks */
    json_t *after;
    json_t *actives;            /* key -> layer, of all disks on record that the new process opens */
    json_t *attached;           /* the same of those that are on a device */
    json_t *late;
    json_t *scratch;            /* text: a file through which a vmstate is loaded (vmstate.h) */
    json_t *plan;
};

/* A new overlay on the layer that the snapshot has of that disk: its step and its record. */
bool revert_overlay(struct revert *revert, const char *key, const char *layer, struct err *err);

/* What the new process is started with; sets args and opens.  What clients had added over QMP is there
 * from its start; "configuration-changed" where that cannot be. */
bool revert_parse_args(struct revert *revert, struct err *err);

/* Whether one of the disks that the new process opens is shared with the old one; sets excluded. */
bool revert_check_excluded(struct revert *revert, struct err *err);

/* With save-as alone: nothing else has what an unplugged disk got since the last snapshot. */
bool revert_check_unplugged(const struct revert *revert, struct err *err);

/* The disks on record become those that the VM had at the snapshot: others go, with what was written
 * to them since they were last saved; those that were unplugged are there again.  Sets actives and attached. */
bool revert_disks(struct revert *revert, struct err *err);

#endif
