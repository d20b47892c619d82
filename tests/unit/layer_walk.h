/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_walk: all trees of up to so many snapshots of one disk, deleted in all orders, with reverts
 * between the deletes.
 *
 * Model: trees are made by hand of the operations: each snapshot right away or after a revert to any
 * earlier one, and so is where the guest stands at the end.  Then any snapshot is deleted, or any is
 * reverted to first, until there is none.  What has been seen (by its form, layer_form.h) is
 * not gone into again; the orders that lead through it are counted all the same.
 *
 * With wishes each delete is also done in all the other ways: in one direction, interrupted at every
 * merge and begun again, with the children, and so on.  All must end in the same form.  And names
 * may go without their layers.
 */
#ifndef TESTS_UNIT_LAYER_WALK_H
#define TESTS_UNIT_LAYER_WALK_H

#include "tests/unit/layer_model.h"

#define WALK_MAX 8

struct walk_seen;

struct walk {
    size_t max;
    enum model_fill fill;
    bool alike;                 /* isomorphic trees are filled in the same way */
    bool wishes;
    struct model_count count;
    unsigned long trees[WALK_MAX + 1];          /* by their number of snapshots */
    unsigned long long orders[WALK_MAX + 1];
    unsigned long states, deletes;              /* that differ, and were done */
    struct walk_seen *seen;
};

void walk_trees(struct walk *walk);

/* ---- between layer_walk.c and layer_wishes.c ---- */

/* Deletes the snapshot in all the ways that must end as `plain` has, which is what a delete without
 * wishes has made of `model`. */
void walk_wishes(const struct model *model, size_t which, const struct model *plain);

#endif
