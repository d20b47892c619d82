/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmstate: memory that QEMU saves in a qcow2 image of its own (memory format "vmstate"), as steps.
 *
 * Model: the image is small (VMSTATE_DISK_BYTES) and no device has it; QEMU's snapshot-save puts the
 * machine's state behind the end of its disk, under one tag.  Such memory can be loaded by a process that
 * runs already, with snapshot-load.
 *
 * snapshot-load also writes to the image that it loads from (block/snapshot.c, bdrv_snapshot_goto).  So
 * that the saved file stays as it was sealed, it is loaded through a scratch image, which takes what is
 * written and is thrown away:
 *
 *     qcow2 (what QEMU loads) -> qcow2 (the scratch file) -backing-> raw -> the saved file, read-only
 *
 * Rules: pure.  Both commands are jobs; QEMU does nothing else meanwhile, and dismisses neither, so that a
 * restart finds out whether one was begun, and how it ended.  A job is dismissed by a step of its own.
 */
#ifndef POLICY_VMSTATE_H
#define POLICY_VMSTATE_H

#include <jansson.h>
#include <stdbool.h>

#include "policy/graph.h"

#define VMSTATE_FORMAT "vmstate"
#define VMSTATE_TAG "qsnap"
#define VMSTATE_DISK_BYTES 65536

/* Is this saved memory (of the record, may be NULL) of that format? */
bool vmstate_is(const json_t *memory);

/* new: the step that makes the file of an empty image; taken back, the file is removed. */
json_t *vmstate_create(const char *file, json_int_t size);

/* new: the step that makes the scratch file through which that memory is loaded. */
json_t *vmstate_create_scratch(const char *file, const json_t *memory);

/* new: that name of a node, or one like it that no node has. */
char *vmstate_free_node(const struct graph *graph, const char *name);

/* new: the step that opens an image to save into or, with the saved file below it, to load from.  QEMU flushes
 * none of it, as the guest would wait for the disk: a scratch file need not last, and the other is made durable
 * when it is sealed.  Taken back, the node is closed where QEMU allows it (in "next" it ends with the process). */
json_t *vmstate_open(const char *on, const char *node, const char *file);
json_t *vmstate_open_scratch(const char *on, const char *node, const char *file, const char *saved);

/* new: the steps that save into and load from a node; bytes: that are moved.  Verified: the job has ended
 * without an error.  Nothing takes them back. */
json_t *vmstate_save(const char *step, const char *job, const char *node, json_int_t bytes);
json_t *vmstate_load(const char *step, const char *on, const char *job, const char *node,
                     json_int_t bytes);
json_t *vmstate_dismiss(const char *on, const char *job);
/* new: the step that waits until such a job has ended, well or not, or is gone: nothing ends it before, and
 * only then it can be dismissed. */
json_t *vmstate_end(const char *on, const char *job, json_int_t bytes);

#endif
