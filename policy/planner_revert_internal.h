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
    const json_t *state;        /* the record as it is */
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
    /* The first QEMU ends before the second starts (planner_revert_replace.c): */
    const char *save_as;        /* the request's, or NULL */
    json_t *present;            /* the plan's member of that name */
    json_t *way_back;           /* a plan: from no QEMU at all to the VM as it is, paused */
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

/* Appends the start of a QEMU that has everything at once, with its disks on those layers (key ->
 * layer of that record). */
bool revert_add_start(json_t *plan, const struct args *args, const json_t *state, const json_t *actives,
                      bool incoming, struct err *err);
/* Appends what is asked of the second QEMU before it may take over. */
void revert_add_verified(json_t *plan, const struct world *world, const json_t *state,
                         const json_t *attached, const json_t *config);
/* new: what QEMU of that major version needs to work with its images while it is paused, when it has
 * loaded or saved memory; NULL: it has none. */
json_t *revert_activate(int major);
/* Appends that, for a QEMU that is started. */
void revert_add_activate(json_t *plan, const struct world *world);
/* new: from here on commands of clients wait. */
json_t *revert_hold(void);

/* The plan of a revert by respawn or replace (planner_revert_process.c). */
bool revert_by_process(struct revert *revert, const json_t *request, struct err *err);

/* With replace: whether the present state can be kept; sets save_as, present and way_back. */
bool revert_check_replace(struct revert *revert, const json_t *request, struct err *err);
/* Appends what comes before the second QEMU's start, and behind its verification. */
void revert_replace_first(struct revert *revert);
void revert_replace_take_over(struct revert *revert);
/* Appends what was kept to the files that go in the end. */
void revert_replace_garbage(const struct revert *revert, json_t *garbage);

#endif
