/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_world: what a planner looks at, made up for tests.
 *
 * Model: a VM of two disks in /i: a qcow2 image on a shared raw one behind virtio, and a raw image
 * behind IDE; as drives d0 and d1, or as -blockdev nodes q0 and r1 of the devices vd0 and sd1.
 * vm is what the process has open; the graph is made from it in QEMU's words and read by
 * policy/graph.h.  A plan is carried out by believing its "after": the files that it needs are
 * there, with headers and fingerprints, and QEMU has them open.
 */
#ifndef TESTS_UNIT_PLANNER_WORLD_H
#define TESTS_UNIT_PLANNER_WORLD_H

#include "tests/unit/json_text.h"

#include "policy/args.h"
#include "policy/args_disks.h"
#include "policy/planner.h"

struct planner_world {
    struct world w;             /* what the planner gets */
    json_t *state;
    json_t *vm;                 /* [{ key (none: no disk has it), device, qdev, ro?, filter?,
                                 *    chain: [{ node, drv, file, protocol?, virtual-size?,
                                 *              dirty-bitmaps?, no-flush?, filter? (above it),
                                 *              below? (node of another chain) }] }] */
    struct args *args;
    struct args_disks disks;
    int inode;                  /* the last one given away */
};

enum planner_world_kind { WORLD_DRIVES, WORLD_NODES };

struct planner_world *world_make(enum planner_world_kind kind, const char *status);
void world_free(struct planner_world *world);

/* Another command line; NULL: attached to a foreign QEMU. */
void world_args(struct planner_world *world, const char *line);
void world_status_set(struct planner_world *world, const char *status);
/* To be called after changes to vm. */
void world_graph(struct planner_world *world);
/* QEMU has one more node, that no disk has. */
void world_node(struct planner_world *world, const char *name);

/* A file that is there, with an inode of its own; backing may be NULL.  borrowed: its entry. */
json_t *world_file_add(struct planner_world *world, const char *path, const char *format,
                       const char *backing, const char *backing_format);
void world_file_remove(struct planner_world *world, const char *path);
void world_room(struct planner_world *world, const char *folder, json_int_t bytes, bool writable);

/* The header of the layer's file names that layer below; both by id. */
void world_header(struct planner_world *world, const char *layer, const char *below);

void world_carry_out(struct planner_world *world, const json_t *plan);
/* Plans with planner_create() and carries it out. */
void world_create(struct planner_world *world, const char *name);
/* s1 - s2 - ... - sN, the VM on top. */
struct planner_world *world_with(enum planner_world_kind kind, int n);
/* What a layer's file takes on the disk. */
void world_allocated(struct planner_world *world, const char *layer, json_int_t bytes);

/* ---- making plans, which have to come out, and refusals ---- */

typedef json_t *planner_fn(const struct world *world, const json_t *state, const json_t *request,
                           struct err *err);

/* new: the words of the new process's command line, with blanks between. */
char *world_words(const json_t *plan);
/* new: the plan, in which was found what holds for all: well-formed steps, one commit point,
 * nothing written that somebody else needs; and nothing but the plan was made. */
json_t *world_plan(struct planner_world *world, planner_fn *planner, const char *request);
/* The same, and carries it out. */
void world_do(struct planner_world *world, planner_fn *planner, const char *request);
/* borrowed until the next call: the sentence. */
const char *world_refuse(struct planner_world *world, planner_fn *planner, const char *request,
                  const char *reason);

/* The steps' names, those with undo marked "*", the commit point "!", lenient ones "?". */
void assert_steps(const json_t *plan, const char *names);
/* The same of all undo steps in the order in which they would run when step `at` had been done. */
void assert_undo(const json_t *plan, const char *at, const char *names);

/* The nth step of that name (0: the first); borrowed. */
const json_t *plan_step(const json_t *plan, const char *name, size_t nth);
json_t *step_arguments(const json_t *step);

#endif
