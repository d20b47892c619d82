/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_model: a VM whose layers hold blocks, to check the record (policy/state.h) and merges by.
 *
 * Model: the record is the real one; beside it stand what lies in each file, what the guest reads,
 * and what it read when each snapshot was made.  Files follow the rules of qcow2 and block-commit:
 * a hole reads from below, a commit writes the child's blocks into the parent.
 */
#ifndef TESTS_UNIT_LAYER_MODEL_H
#define TESTS_UNIT_LAYER_MODEL_H

#include "tests/unit/json_text.h"

#include "policy/merge.h"
#include "policy/state.h"

#define MODEL_DISKS 2
#define MODEL_BLOCKS 6
#define MODEL_LAYERS 200
#define MODEL_SNAPSHOTS 24
#define MODEL_HOLE 0

/* What lies in the files, and what is to be read where. */
struct model {
    json_t *state;
    size_t n_disks;
    bool merge_all;             /* or at most one a disk, as the planner does */
    int next;                   /* value that the guest writes next */
    int file[MODEL_LAYERS][MODEL_BLOCKS];   /* by the number of the layer; MODEL_HOLE: look below */
    bool unlinked[MODEL_LAYERS];
    int active[MODEL_DISKS][MODEL_BLOCKS];  /* what the guest reads */
    int saved[MODEL_SNAPSHOTS][MODEL_DISKS][MODEL_BLOCKS];
};

extern const char *const model_key[MODEL_DISKS];        /* of the disks */
extern const char *const model_name[MODEL_SNAPSHOTS];

/* Each disk has a foreign image and, on it, the one that the command line names.  The caller lets
 * go of model->state at the end. */
void model_start(struct model *model, size_t n_disks, bool merge_all);

/* The guest writes a new value. */
void model_write(struct model *model, size_t disk, size_t block);

/* The operations, as the planners record them; mask: bit d is set for disk d. */
void model_create(struct model *model, size_t which, unsigned mask);
void model_revert(struct model *model, size_t which);
void model_delete(struct model *model, size_t which);

/* All that is left reads as it should, and every layer is there for somebody. */
void model_check(const struct model *model);

/* id of the disk's active layer; borrowed from the record. */
const char *model_active(const struct model *model, size_t disk);

#endif
