/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_merge: what one merge (policy/merge.h) does to the files of a layer_model, as QEMU does it,
 * and whether it may be.
 *
 * Model: blocks move first, one by one, and what is read stays right with each of them.  Then the
 * headers change, and only then the record, which is the caller's.
 */
#ifndef TESTS_UNIT_LAYER_MERGE_H
#define TESTS_UNIT_LAYER_MERGE_H

#include "tests/unit/layer_check.h"

/* Is this one that merge_find() may choose for that record?  By its own rules, not by merge.c's. */
void model_check_choice(const struct model *model, const json_t *state,
                        const struct merge_search *search, const char *key,
                        const struct merge *merge);

/* Moves the merge's blocks; half: every other one. */
void model_move(struct model *model, const struct layer_map *map, const struct merge *merge,
                bool half);

/* The headers that change when they have all been moved. */
void model_turn(struct model *model, const struct layer_map *map, const struct merge *merge);

/* What a file holds. */
json_int_t model_bytes(const struct model *model, int number);

#endif
