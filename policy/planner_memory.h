/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_memory: the guest's memory and devices, saved to a file and loaded from one as a migration
 * stream, as pieces of plans.
 *
 * Model: the file's descriptor goes to QEMU under the name qsnap-memory, since a path would be opened
 * by QEMU itself ("exec:cat" kills one that runs in a sandbox).  What is saved is complete in
 * "postmigrate", or in "paused" when it was saved in the background; then QEMU has let go of the images,
 * until `cont`.
 */
#ifndef POLICY_PLANNER_MEMORY_H
#define POLICY_PLANNER_MEMORY_H

#include "policy/world.h"

/* Appends what can be done while the guest runs: the file is made, the settings and the descriptor are
 * given to QEMU.  background: the guest's run state stays what it is (planner_migration_settings()). */
void planner_memory_prepare(const struct world *world, json_t *plan, const char *file, bool background);

/* Appends what saves it, of a guest that stands still. */
void planner_memory_save(const struct world *world, json_t *plan, const char *file, bool background);

/* Appends what loads memory ({ file, size }; NULL: there is none) into the second QEMU, which then is
 * paused, or has not run yet. */
void planner_memory_load(json_t *plan, const json_t *memory);

#endif
