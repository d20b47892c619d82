/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_steps: pieces of plans that several planners use.
 */
#ifndef POLICY_PLANNER_STEPS_H
#define POLICY_PLANNER_STEPS_H

#include "policy/disks.h"
#include "policy/world.h"

/* new: the expectation that the disk sits on the node. */
json_t *expect_disk(const struct graph_disk *disk, const char *node);

/* new: how QEMU's block-commit names a disk: {device: BlockBackend or root node}. */
const char *planner_job_device(const struct graph_disk *disk, const char *root_node);

/* Appends to step's undo: merge the overlay back into what it stands on.  In three parts: it moves what is
 * in the overlay while the guest runs; with the guest stopped, the rest, and both hold the same; the disk
 * is on the old image. */
void planner_undo_overlay(json_t *step, const struct vm_disk *disk, const char *overlay_node);
void planner_undo_overlay_complete(json_t *step, const struct vm_disk *disk, const char *overlay_node);
void planner_undo_overlay_end(json_t *step, const struct vm_disk *disk, const char *overlay_node);
/* Appends to the rescue of an undo that stands before the third part: the disk stays on the overlay. */
void planner_undo_overlay_rescue(json_t *undo, const char *overlay_node);

/* new: ends a block job of ours, however far it is; takes it off the list. */
json_t *planner_cancel_job(const char *job);
json_t *planner_dismiss_job(const char *job);

/* new: takes a node out of QEMU. */
json_t *planner_close_node(const char *node);

/* new: stop and cont, verified. */
json_t *planner_stop(void);
json_t *planner_cont(void);
/* new: the same in what is taken back.  A guest may have stopped by itself before it was stopped, or do so at once:
 * where its disk has failed, say.  That is not the operation's to mend, nor a reason to be stuck. */
json_t *planner_stop_back(void);
json_t *planner_cont_back(void);

/* The capabilities alone, for a vmstate: QEMU saves and loads it as a migration.  The second makes the steps that
 * put them back lenient, for behind a commit point. */
void planner_capabilities(const struct world *world, json_t *plan, bool background);
void planner_capabilities_restore(const struct world *world, json_t *plan, bool background, bool lenient);

/* Steps that put the migration's capabilities and parameters to what a save (background: one that
 * lets the guest keep its run state) needs, with undo, and those that put them back. */
void planner_migration_settings(const struct world *world, json_t *plan, bool background);
void planner_migration_restore(const struct world *world, json_t *plan, bool background);

/* new: the step that takes the fingerprints of layers; `layers`: key -> layer id. */
json_t *planner_freeze_step(const json_t *state, const json_t *layers);

/* Adds the step that looks whether a process has the devices that clients had plugged, and not those that
 * they had unplugged; none when they had plugged none. */
void planner_check_devices(json_t *plan, const char *on, const json_t *config);

/* new: the configuration that a snapshot of the VM as it is has. */
json_t *planner_config(const struct world *world, const json_t *state);

/* new: the record of a snapshot of the VM as it is, of no disk and without memory yet; state: the record
 * before it.  origin: "created" or "observed". */
json_t *planner_snapshot(const struct world *world, const json_t *state, const char *name,
                         const char *origin);

/* The snapshot covers the disk, of which it keeps that layer. */
void planner_cover(const json_t *state, json_t *snapshot, const char *key, json_t *layer);

/* new: the record of the disk with that key on that layer, from what the snapshot keeps of its device. */
json_t *planner_disk(const json_t *state, const char *key, const json_t *device, const char *layer);

/* What the guest has as RAM; what a file of its memory may take: that and a bit for the devices. */
json_int_t planner_ram_bytes(const struct world *world);
json_int_t planner_memory_bytes(const struct world *world);

/* new: the VM's devices, sorted: their ids, or what they are ("child<TYPE>") where they have none. */
json_t *planner_device_ids(const struct world *world);

/* new: a user's command line as an array of strings; empty for NULL. */
json_t *planner_args(const struct args *args);
/* new: the same back, which takes one word at least; NULL with err. */
struct args *planner_parse_args(const json_t *words, struct err *err);

#endif
