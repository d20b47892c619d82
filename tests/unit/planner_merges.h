/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_merges: a plan that merges, played with files that are lists of what was written to them.
 *
 * Model: a file holds data (ids of the layers whose writes are in it, the newest first) and names
 * the file below.  A layer reads as its file's list followed by those below, each id once.  The steps
 * do to these files what QEMU does: data moves when a job starts, headers change when it ends.
 * Behind every step the record that was written last must be right: each snapshot that is not being
 * deleted, and each disk, reads as before the plan, and what was touched has no fingerprint in it.
 */
#ifndef TESTS_UNIT_PLANNER_MERGES_H
#define TESTS_UNIT_PLANNER_MERGES_H

#include "tests/unit/planner_world.h"

struct merges_model {
    const struct planner_world *world;
    const json_t *plan;
    const json_t *record;   /* what was written last */
    const json_t *early;    /* the step that wrote it before it was so, until it is settled */
    json_t *files;          /* real -> { data: [id], backing: real|null, touched? } */
    json_t *nodes;          /* node -> real */
    json_t *side;           /* nodes that the plan has opened: node -> node below, or null */
    json_t *actives;        /* device or active node, and key -> real */
    json_t *jobs;           /* id -> { ... }, those that were not dismissed */
    json_t *ended;          /* the last one that was dismissed, until its record */
    json_t *checked;        /* what was looked at since then: files, keys of disks */
    json_t *frozen;         /* what layers-freeze was told since the last change */
    bool stopped;
};

/* Fails unless all of that holds.  Plans of other operations are not looked at. */
void merges_check(const struct planner_world *world, const json_t *plan);

/* ---- between planner_merges.c (the steps), planner_merges_record.c and planner_merges_files.c ---- */

/* borrowed: the file that the node has open. */
const char *merges_file(const struct merges_model *model, const char *node);
/* A step looks at chains, at a header, writes the record, or has looked at what the record said before. */
void merges_check_chains(struct merges_model *model, const json_t *expect);
void merges_check_header(struct merges_model *model, const json_t *args);
void merges_write(struct merges_model *model, const json_t *step);
void merges_settle(struct merges_model *model);

void merges_begin(struct merges_model *model);
void merges_clear(struct merges_model *model);
/* borrowed: the file below, or NULL. */
const char *merges_below(const struct merges_model *model, const char *real);
/* borrowed: the file of a layer whose overlay names it so, or that QEMU was told so. */
const char *merges_named(const struct merges_model *model, const char *text);
void merges_add_data(struct merges_model *model, const char *to, const char *from, bool on_top);
void merges_rest_on(struct merges_model *model, const char *real, const char *below);
/* borrowed: the layer with that file in the record; its id may be asked for. */
const json_t *merges_layer(const json_t *state, const char *real, const char **id);
/* What has to hold behind every step, and behind one that writes a record. */
void merges_check_contents(const struct merges_model *model);
void merges_check_record(const struct merges_model *model);
/* What has to hold in the end. */
void merges_check_end(const struct merges_model *model);

#endif
