/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layer_model: a VM whose layers hold blocks, to check the record (policy/state.h) and merges by.
 *
 * Model: the record is the real one; beside it stand what lies in each file, which file each header
 * names, what the guest reads, and what it read when each snapshot was made.  Files follow the rules
 * of qcow2: a hole reads from below.  Below is what the record says for a QEMU that is given each
 * layer, and what the headers say for one that follows them: both must find the same.
 *
 * Whatever is not as it should be ends the test, with the life so far (`trail`).
 */
#ifndef TESTS_UNIT_LAYER_MODEL_H
#define TESTS_UNIT_LAYER_MODEL_H

#include "tests/unit/json_text.h"

#include "policy/merge.h"
#include "policy/state.h"

#define MODEL_DISKS 2
#define MODEL_BLOCKS 8
#define MODEL_LAYERS 260
#define MODEL_SNAPSHOTS 50
#define MODEL_TRAIL 4000
#define MODEL_HOLE 0

/* How much the guest writes into a new layer. */
enum model_fill { MODEL_SMALL_OVER_BIG, MODEL_BIG_OVER_SMALL, MODEL_MIXED, MODEL_FILL__COUNT };

/* What happened, for the figures. */
struct model_count {
    unsigned long deletes, refused, merges, commits, streams, side, copied, skipped, crashes, most;
};

struct model {
    json_t *state;
    size_t n_disks;
    enum model_fill fill;
    bool alike;                             /* the fill does not know names: layer_walk.h */
    int next;                               /* value that the guest writes next */
    int file[MODEL_LAYERS][MODEL_BLOCKS];   /* by the number of the layer; MODEL_HOLE: look below */
    int header[MODEL_LAYERS];               /* number of the layer that it names; 0: none */
    bool unlinked[MODEL_LAYERS];
    int version[MODEL_LAYERS];              /* of the file: its fingerprint */
    int foreign[MODEL_DISKS][MODEL_BLOCKS]; /* what lies in the foreign images for ever */
    int active[MODEL_DISKS][MODEL_BLOCKS];  /* what the guest reads */
    int saved[MODEL_SNAPSHOTS][MODEL_DISKS][MODEL_BLOCKS];
    bool deleting[MODEL_SNAPSHOTS];         /* an interrupted delete: good for nothing else */
    struct model_count *count;              /* borrowed */
    char trail[MODEL_TRAIL];
};

/* A delete; all zero: that snapshot, as is cheapest. */
struct model_wish {
    enum merge_direction direction;
    const char *children;       /* NULL: keep */
    bool metadata_only;
    bool turned;                /* the record lists its layers in the other order */
    unsigned skip;              /* a layer whose number is a multiple of it cannot be merged now */
    unsigned interrupt;         /* it ends in the middle of this merge, the first one being 1 */
    bool late;                  /* or behind the change of its files, before that of the record */
};

enum model_end { MODEL_DONE, MODEL_REFUSED, MODEL_INTERRUPTED };

#define model_must(model, what) \
    do { \
        if (!(what)) \
            fail_msg("not so: %s; after%s", #what, (model)->trail); \
    } while (0)

extern const char *const model_key[MODEL_DISKS];        /* of the disks */
const char *model_name(size_t which);
/* The other way round. */
size_t model_which(const char *name);
/* 7 of "L7". */
int model_number(const char *id);

/* Each disk has a foreign image and, on it, the one that the command line names.  The caller lets
 * go of model->state at the end. */
void model_start(struct model *model, size_t n_disks, enum model_fill fill,
                 struct model_count *count);
/* To go on from there in two ways. */
void model_copy(struct model *copy, const struct model *model);

/* The guest writes a new value. */
void model_write(struct model *model, size_t disk, size_t block);

/* The operations, as the planners record them; mask: bit d is set for disk d. */
void model_create(struct model *model, size_t which, unsigned mask);
void model_revert(struct model *model, size_t which);
/* Refused: nothing has happened. */
enum model_end model_delete(struct model *model, size_t which, const struct model_wish *wish);

/* ---- between the model's own files ---- */
void model_note(struct model *model, const char *what, const char *name);
void model_unlink(struct model *model, int number);
/* What changes a file, and with it its fingerprint. */
void model_put(struct model *model, int number, size_t block, int value);
void model_point(struct model *model, int number, int below);
/* Layers that are not written to any more get a fingerprint (`print`). */
void model_freeze(struct model *model);

#endif
