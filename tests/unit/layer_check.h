/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_check: is all as it should be in a layer_model?
 *
 * The record is turned into numbers first (struct layer_map), by nothing that policy/merge.c uses.
 */
#ifndef TESTS_UNIT_LAYER_CHECK_H
#define TESTS_UNIT_LAYER_CHECK_H

#include "tests/unit/layer_model.h"

/* One layer of the record. */
struct layer_row {
    bool there, foreign, base, copied;
    bool read;                  /* a reader stands on it */
    int parent;                 /* number, 0: none */
    int children, names;        /* how many stand on it, and how many snapshots name it */
    int kept;                   /* of those names, the ones that are not being deleted */
    int print;                  /* -1: none */
    unsigned running;           /* bit d: it is in the chain of disk d */
};

/* What has to be read at a layer, and whose that is. */
struct layer_reader {
    int number;
    const int *want;            /* borrowed from the model */
    const char *whose;
};

struct layer_map {
    int top;                    /* highest number */
    int active[MODEL_DISKS];
    struct layer_reader reader[(MODEL_SNAPSHOTS + 1) * MODEL_DISKS];
    size_t n_readers;
    struct layer_row row[MODEL_LAYERS];
};

void map_make(struct layer_map *map, const struct model *model, const json_t *state);

/* What is read there, by the record or by the headers. */
int check_read(const struct model *model, const struct layer_map *map, int number, size_t block,
               bool by_header);

/* What the active state and each snapshot that is not being deleted read is what they should, by
 * the record and by the headers. */
void check_reads(const struct model *model, const struct layer_map *map);
/* Only of that block. */
void check_block(const struct model *model, const struct layer_map *map, size_t block);

/* Do the headers name what the record says? */
bool check_headers(const struct model *model, const struct layer_map *map);

/* Reads; headers, fingerprints and record agree; every file is on record or unlinked; images that
 * were there before us are there, and the foreign ones as they were. */
void model_check(const struct model *model);

/* After a delete: nothing is left that could be merged. */
void model_check_merged(const struct model *model);

#endif
