/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keyset: which keys the objects of one message have, to find the one that comes twice.
 *
 * Model: a hash table of (object, key), all objects of a message in one.  Keys are compared
 * decoded.  The hash is seeded, so that a client cannot make the proxy slow with chosen keys.
 *
 * Rules: keys are spans of checked string tokens, borrowed until keyset_clear().  Small messages
 * need no memory but the struct.
 */
#ifndef QMP_KEYSET_H
#define QMP_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qmp/span.h"

#define KEYSET_INLINE 32        /* a power of two */

struct keyset_entry {
    struct span key;            /* at is NULL in a free one */
    uint64_t hash;
    uint32_t object;
};

struct keyset {
    struct keyset_entry *entries;
    size_t size;
    size_t used;
    struct keyset_entry few[KEYSET_INLINE];
};

void keyset_init(struct keyset *set);
void keyset_clear(struct keyset *set);

/* Adds a key of the object with that number; false when it is there already. */
bool keyset_add(struct keyset *set, uint32_t object, struct span key);

#endif
