/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * merge: which layers can become one, and which way costs less.
 *
 * Model: a layer that no snapshot names, with exactly one child, is merged with that child.
 *
 *   commit  the child's data goes down into the layer, and everything that named the child names the
 *           layer from then on.  Of the child's children the one in the running chain (`above`) is
 *           moved by QEMU; as long as others stand on the child it stays, as a layer that holds
 *           nothing which the one below does not hold too: `copied`
 *   stream  the layer's data goes up into the child, which then stands on what the layer stood on.
 *           Whatever stands on the child reads the same as before
 *
 * A disk that was made smaller, and perhaps larger again, must not show what was cut off: no layer is
 * committed into a larger one, and none that is smaller than both its neighbours is streamed.  A layer
 * that can go neither way is kept, without a name.
 *
 * Never is a foreign layer written to, nor the image that the command line names unlinked, so that
 * one is only committed into.  The children of a copied layer are streamed into one by one, however
 * many there are: no byte differs, only their headers change.
 *
 * A merge happens in the running chain of a disk, where QEMU does it, or on a side branch: then
 * QEMU has neither layer open, since a layer of the running chain with one child has it there too.
 * Other layers with several children are kept, unnamed, and looked at again after the next operation.
 */
#ifndef POLICY_MERGE_H
#define POLICY_MERGE_H

#include <jansson.h>
#include <stdbool.h>

enum merge_direction { MERGE_AUTO, MERGE_COMMIT, MERGE_STREAM };

struct merge {
    enum merge_direction direction;     /* never MERGE_AUTO */
    char *key;              /* of the disk whose running chain it is in; NULL: on a side branch */
    char *parent, *child;   /* layer ids */
    char *above;            /* commit: the running chain's layer on the child, NULL: there is none */
    json_int_t bytes;       /* that are moved, at most */
};

struct merge_search {
    const json_t *bytes;            /* layer -> bytes that its file holds */
    const json_t *own;              /* layers (as keys) that `direction` is meant for */
    const json_t *skip;             /* layers (as keys) that are not merged with their children */
    enum merge_direction direction; /* others go as is cheapest */
};

/* Finds the next merge in the disk's running chain, or (key NULL) on the side branches.  One of
 * `own` that cannot go in the direction asked for is not found: merge_refused() names it. */
bool merge_find(const json_t *state, const char *key, const struct merge_search *search,
                struct merge *out);
void merge_clear(struct merge *merge);

/* borrowed: a layer of search->own that could be merged, but not in the direction asked for; NULL:
 * there is none. */
const char *merge_refused(const json_t *state, const struct merge_search *search);

/* The record after it. */
void merge_apply(json_t *state, const struct merge *merge);

/* The layer that the merge empties; it is gone from the record if nothing else stands on it. */
const char *merge_emptied(const struct merge *merge);
/* The layer that is written to. */
const char *merge_target(const struct merge *merge);

#endif
