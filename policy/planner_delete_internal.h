/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_delete_internal: what planner_delete.c (the plan), planner_delete_find.c (what has to be
 * merged, and may be), planner_delete_side.c and planner_delete_steps.c (the steps of that) share.
 */
#ifndef POLICY_PLANNER_DELETE_INTERNAL_H
#define POLICY_PLANNER_DELETE_INTERNAL_H

#include "policy/disks.h"
#include "policy/merge.h"
#include "policy/planner.h"

/* One merge, with the names that it has in the running QEMU. */
struct delete_merge {
    struct merge merge;
    const struct vm_disk *disk;             /* NULL: on a side branch (planner_delete_side.h) */
    const char *parent_node, *child_node;   /* borrowed from the graph, or from `pool` */
    const char *below_node;     /* what the parent stands on, for a stream */
    const char *root_node;      /* the disk's active node at that time, or the side branch's floor */
    bool header_only;           /* a copied layer on a side branch: nothing moves */
    size_t round;               /* merges of one round go together, rounds follow each other */
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
    struct merge_search search; /* its objects are owned */
    json_t *pool;               /* holds names of nodes */
    json_t *links;              /* layers of running chains, as QEMU has them open before the plan: id ->
                                 * { file, driver, node } */
    struct delete_merge *merges;
    size_t n_merges, n_rounds;
    bool own_only;              /* what others left is not merged now */
};

/* All merges that the record after the delete asks for.  What is not due to this delete and cannot
 * be merged now stays for a later one; else the error says why not. */
bool delete_find_merges(struct delete *delete, enum merge_direction direction, struct err *err);

/* From here on the snapshots can only be deleted, and what is written to has no fingerprint: however
 * far a merge gets, the child's content is right. */
void delete_mark(struct delete *delete);

/* new: how the disk's chain has to be open in QEMU, by the record as it is now: one entry of the disks
 * of a "chain" (expect.h). */
json_t *delete_expect(const struct delete *delete, const struct vm_disk *disk);

/* The merges of one round: all are as far as they get before the first one is ended. */
void delete_merge_round(struct delete *delete, size_t round);

/* The layer's node in its running chain; borrowed, or NULL. */
const char *delete_node(const struct delete *delete, const char *layer);

#endif
