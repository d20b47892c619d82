/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * merge: which layers of a running chain can become one.
 *
 * Model: a layer that no snapshot names, with exactly one child, is merged with that child: the
 * child's data is committed into it, the child's file goes, and everything that named the child
 * names the layer from then on.  A layer with several children is kept, unnamed, and looked at
 * again after the next operation; so is one outside the running chain, and one whose child has
 * other children (their headers name the child's file).
 */
#ifndef POLICY_MERGE_H
#define POLICY_MERGE_H

#include <jansson.h>
#include <stdbool.h>

struct merge {
    char *key;              /* of the disk */
    char *parent, *child;   /* layer ids: the child is committed into the parent */
    char *above;            /* the layer on the child, NULL when the child is active */
};

/* Finds the next merge on the disk's running chain; false when there is none. */
bool merge_find(const json_t *state, const char *key, struct merge *out);
void merge_clear(struct merge *merge);

/* The record after it: references to the child become references to the parent. */
void merge_apply(json_t *state, const struct merge *merge);

#endif
