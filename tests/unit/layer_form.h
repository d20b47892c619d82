/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_form: are two layer_models the same, but for the numbers of their layers?
 *
 * Model: a text that tells the tree of layers, children in a fixed order: marks, whether snapshots
 * name it and the guest writes to it, and for each block whether it is there, and which block below
 * holds the same value.  No more of the values can matter to any merge.  What has the same form
 * goes on in the same way.
 */
#ifndef TESTS_UNIT_LAYER_FORM_H
#define TESTS_UNIT_LAYER_FORM_H

#include "tests/unit/layer_check.h"

#define FORM_SIZE 8192

/* named: with the snapshots' names, else only with how many there are. */
void form_make(const struct model *model, bool named, char form[FORM_SIZE]);

#endif
