/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * observe_world: what clients do to the made-up VM of planner_world.h, and what observe() makes of it.
 */
#ifndef TESTS_UNIT_OBSERVE_WORLD_H
#define TESTS_UNIT_OBSERVE_WORLD_H

#include "tests/unit/planner_world.h"

/* The image leads to that one, by its header. */
void lead(struct planner_world *world, const char *path, const char *below,
          const char *header, const char *format);
json_t *chain_of(struct planner_world *world, size_t disk);
/* A client puts an overlay on the disk, whose header names what is below as QEMU does. */
void put_on(struct planner_world *world, size_t disk, const char *node, const char *path);
/* A client's block job takes chain[first..first + n) out. */
void take_out(struct planner_world *world, size_t disk, size_t first, size_t n);
void written(struct planner_world *world, const char *path);
/* Looks; the record follows. */
void look(struct planner_world *world, const char *commands);
const json_t *snapshot_of(struct planner_world *world, const char *name);
const char *active_of(struct planner_world *world, const char *key);
bool damaged(struct planner_world *world, const char *name);

#endif
