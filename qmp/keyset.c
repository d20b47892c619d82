/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/keyset.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp/alloc.h"
#include "qmp/jstring.h"

static uint64_t seed(void)
{
    static uint64_t value;

    /* Without entropy the address of the variable has to do: still not known to a client. */
    if (value == 0 && (getentropy(&value, sizeof(value)) != 0 || value == 0))
        value = (uintptr_t)&value;
    return value;
}

void keyset_init(struct keyset *set)
{
    set->entries = set->few;
    set->size = KEYSET_INLINE;
    set->used = 0;
    memset(set->few, 0, sizeof(set->few));
}

void keyset_clear(struct keyset *set)
{
    if (set->entries != set->few)
        free(set->entries);
    set->entries = NULL;
}

static struct keyset_entry *find(struct keyset_entry *entries, size_t size, uint32_t object,
                                 struct span key, uint64_t hash)
{
    size_t i = hash & (size - 1);

    while (entries[i].key.at) {
        if (entries[i].hash == hash && entries[i].object == object &&
            jstring_equal(entries[i].key, key))
            break;
        i = (i + 1) & (size - 1);
    }
    return &entries[i];
}

static void grow(struct keyset *set)
{
    size_t size = set->size * 4;
    struct keyset_entry *entries = alloc_zeroed(size, sizeof(*entries));

    for (size_t i = 0; i < set->size; i++) {
        const struct keyset_entry *e = &set->entries[i];

        if (e->key.at)
            *find(entries, size, e->object, e->key, e->hash) = *e;
    }
    if (set->entries != set->few)
        free(set->entries);
    set->entries = entries;
    set->size = size;
}

bool keyset_add(struct keyset *set, uint32_t object, struct span key)
{
    uint64_t hash = jstring_hash(key, seed() + object);
    struct keyset_entry *entry;

    if (set->used >= set->size / 2)
        grow(set);
    entry = find(set->entries, set->size, object, key, hash);
    if (entry->key.at)
        return false;
    *entry = (struct keyset_entry){ .key = key, .hash = hash, .object = object };
    set->used++;
    return true;
}
