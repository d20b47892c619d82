/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state: what is on record about one VM: disks, layers, snapshots.
 *
 * Model (a JSON object, so that a copy of it can stand in a journal as "after"):
 *
 *   format     STATE_FORMAT
 *   generation one more than in the record that it follows, set by each finished operation
 *   counter    number of the last layer; names of files and nodes are made from it
 *   current    name of the snapshot that the running state descends from, or null
 *   config     configuration commands of clients since QEMU was started
 *   args?      the command line that the VM runs with, where a revert has started another one than the
 *              proxy was given
 *   disks      key -> { device, qdev, active: layer, base: layer }
 *   layers     id  -> { path, real, format, parent: layer|null, node?, foreign?, base?, copied?,
 *              observed?, size, backing?, print?, ino? }
 *   snapshots  [ { name, parent|null, description?, created, run-state, origin, memory?, disks:
 *                { key -> layer }, devices?: { key -> { device, qdev } }, args, config, qemu, fit?,
 *                deleting?, damaged? } ], oldest first
 *
 * A layer is one image file of a chain.  path is how QEMU is told to open it (it may be relative to
 * the folder that QEMU runs in), real the absolute path.  A foreign layer lies below the image that
 * the command line names: it is never written and never deleted.  base marks the image that the
 * command line names: it is written into when its only child is merged, but never unlinked.
 * copied marks a layer that holds nothing which the one below it does not hold too (merge.h).
 * observed marks an overlay that a client made.  backing is the string by which a layer's header names
 * the one below, where it is not the one that we would have written (overlay.h).
 * print is the fingerprint of a frozen layer: { size, mtime, dev, ino } (nanoseconds; mtime is text).
 * ino is the inode of an overlay: what the next start has to find there.
 * qemu ([major, minor, micro]; the last is missing in older records) and fit say which QEMU has made the
 * snapshot, as what machine (fit.h).
 * A layer that a snapshot names is frozen: nothing writes to it.  Where a client's own block job did,
 * damaged (text) says so, and the snapshot can only be deleted.
 *
 * Rules: pure; everything borrowed from the state stays borrowed until the state changes.
 */
#ifndef POLICY_STATE_H
#define POLICY_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

#define STATE_FORMAT 1

/* new. */
json_t *state_new(void);

/* To be called on the record that an operation leaves. */
void state_advance(json_t *state);
/* Does `state` come from the operation whose result `after` is?  Of one without (NULL) nothing does. */
bool state_is_after(const json_t *state, const json_t *after);

/* Is this a state that can be worked with?  Refuses newer formats and broken references. */
bool state_check(const json_t *state, struct err *err);

/* ---- snapshots (borrowed; NULL when there is none) ---- */
json_t *state_snapshot(const json_t *state, const char *name);
/* As state_snapshot(), with an error that says which name is unknown. */
json_t *state_snapshot_need(const json_t *state, const char *name, struct err *err);
/* new: the names of the children, oldest first. */
json_t *state_children(const json_t *state, const char *name);
/* Children of the removed snapshot become children of its parent; so does "current". */
void state_snapshot_remove(json_t *state, const char *name);

/* ---- layers ---- */
json_t *state_layer(const json_t *state, const char *id);
/* Adds a layer under the next number; the id is borrowed.  layer is stolen. */
const char *state_layer_add(json_t *state, json_t *layer);
/* How many layers stand directly on this one; *only is the last one found. */
size_t state_layer_children(const json_t *state, const char *id, const char **only);
/* Does a snapshot (other than `except`, which may be NULL) name the layer? */
bool state_layer_named(const json_t *state, const char *id, const char *except);
/* Its virtual size in bytes; 0 for NULL. */
json_int_t state_layer_size(const json_t *layer);
/* Is the layer there for somebody?  A snapshot names it, a disk runs on it, something stands on it, or it
 * was there before us. */
bool state_layer_needed(const json_t *state, const char *id);
/* The key of the disk whose active layer it is, or NULL. */
const char *state_layer_active_of(const json_t *state, const char *id);
/* Removes layers that nothing needs any more; new: their real paths, to unlink. */
json_t *state_collect_garbage(json_t *state);

/* ---- disks ---- */
json_t *state_disk(const json_t *state, const char *key);
/* Forgets disks that stand on their first image and that no snapshot knows: they may change.  Were
 * there any? */
bool state_forget_disks(json_t *state);
/* The layer ids of a chain from `id` down to the image that the command line names and, when
 * foreign is asked for, further down.  new: an array of strings. */
json_t *state_chain(const json_t *state, const char *id, bool foreign);

/* Is the text one of the strings of that array?  text may be NULL. */
bool state_list_has(const json_t *list, const char *text);

/* String member or NULL. */
const char *state_str(const json_t *object, const char *member);

#endif
