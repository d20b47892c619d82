/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_delete_internal: what planner_delete.c (what has to be merged) and planner_delete_steps.c
 * (the steps of that) share.
 */
#ifndef POLICY_PLANNER_DELETE_INTERNAL_H
#define POLICY_PLANNER_DELETE_INTERNAL_H

#include "policy/disks.h"
#include "policy/merge.h"
#include "policy/planner.h"

/* One merge, with the names that it has in the running QEMU. */
struct delete_merge {
    struct merge merge;
    const struct vm_disk *disk;
    const char *parent_node, *child_node;   /* borrowed from the graph */
    const char *root_node;                  /* the disk's active node at that time */
    size_t round;               /* merges of one disk follow each other, those of a round go together */
    char job[64];
};

struct delete {
    const struct world *world;
    const char *name;
    json_t *names;              /* of all that are deleted, children first */
    struct vm_disks disks;
    json_t *now;                /* the record as it is while merges run: marked */
    json_t *after;
    json_t *garbage, *memory;   /* real paths, to unlink */
    json_t *plan;
    struct delete_merge *merges;
    size_t n_merges, n_rounds;
};

/* From here on the snapshots can only be deleted, and what is merged into has no fingerprint: however
 * far the merge gets, the child's content is right. */
void delete_mark(struct delete *delete);

/* The merges of one round: all are as far as they get before the first one is ended. */
void delete_merge_round(struct delete *delete, size_t round);

#endif
