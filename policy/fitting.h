/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fitting: which record describes the images, after an operation was interrupted.
 *
 * Model: a plan that merges layers writes the record anew behind each merge.  When it breaks off
 * between a merge and its record, the images tell: the running chains (which the caller knows how to
 * look at), and the headers of those layers that stand on one layer in one of the records and on
 * another in the next.  The first record that fits is right: where two fit, both files hold the same.
 */
#ifndef POLICY_FITTING_H
#define POLICY_FITTING_H

#include "policy/world.h"

/* Are the running chains those of that record? */
typedef bool fitting_fn(void *arg, const json_t *record);

/* borrowed from the plan, or `state`, which is looked at first; NULL: none fits.  Of the world only
 * the files are used. */
const json_t *fitting_record(const struct world *world, const json_t *plan, const json_t *state,
                             fitting_fn *running, void *arg);

/* Has the plan to do with the disk of that key: is its chain not the same in all the records that it may leave? */
bool fitting_concerns(const json_t *plan, const json_t *state, const char *key);

/* new: the steps to be done before that record replaces `state`: each header that was written since, and what a layer
 * has taken over, is seen to be on the disk.  Who had to see to it may have ended before. */
json_t *fitting_steps(const json_t *record, const json_t *state);

#endif
