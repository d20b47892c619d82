/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disks: the VM's disks as snapshots see them, put together from the block graph, the command line
 * and the record.
 *
 * Model: a disk is found by its key: "drive:ID" (a BlockBackend's name) or "node:NAME" (the
 * -blockdev node that the command line, or a client's blockdev-add, names), with the device (qdev) on record as second witness, or,
 * where that node is in the chain no more, as the only one; never by a path alone.  A path says which file an image is only together with device and inode.
 */
#ifndef POLICY_DISKS_H
#define POLICY_DISKS_H

#include "policy/world.h"
#include "qmp/err.h"

struct vm_disk {
    char *key;
    char *label;                        /* what users call it: drive id, or device id */
    const struct graph_disk *g;         /* borrowed from the graph */
    const struct args_disk *a;          /* borrowed from the args; NULL: not on the command line */
};

struct vm_disks {
    struct vm_disk *v;
    size_t n;
};

/* All disks with a medium. */
void disks_list(const struct world *world, struct vm_disks *out);
void disks_clear(struct vm_disks *disks);
const struct vm_disk *disks_find(const struct vm_disks *disks, const char *key);

/* No other node stands on the disk's active image: an overlay of a client's, perhaps, that is left behind a
 * commit.  QEMU refuses to move the disk off the image, or to merge it, as long as there is one. */
bool disks_check_top(const struct world *world, const struct vm_disk *disk, struct err *err);

/* The disks to snapshot: those that `names` (array of strings; NULL: every writable one) lists, by
 * label, qdev id or node-name.  Refuses what cannot be snapshotted, by reason. */
bool disks_select(const struct world *world, const json_t *names, struct vm_disks *out,
                  struct err *err);

/* Is the disk's running chain, link by link, the one on record?  The disk must be on record. */
bool disks_match_record(const struct world *world, const json_t *state, const struct vm_disk *disk,
                        struct err *err);

/* Are these two entries of world.files (or NULL) the same file? */
bool disks_same_file(const json_t *a, const json_t *b);

/* Does the path lead to a file that QEMU has open?  True where that is not known. */
bool disks_is_open(const struct world *world, const char *path);

/* new: the fingerprint of a file that nobody writes to, from its entry in world.files. */
json_t *disks_print(const json_t *file);

/* Puts a disk that is not on record there, with the layers that it has. */
bool disks_register(const struct world *world, json_t *state, const struct vm_disk *disk,
                    struct err *err);

/* The active layers have the size that QEMU tells: a disk may have been resized. */
void disks_note_sizes(const struct world *world, json_t *state);

/* The same, with what stands in its chain at `base` and below: there is more above. */
bool disks_register_at(const struct world *world, json_t *state, const struct vm_disk *disk,
                       size_t base, struct err *err);

/* Refuses a disk that cannot be snapshotted: not a writable raw or qcow2 image in a local file or
 * block device, directly under its device. */
bool disks_check_kind(const struct world *world, const struct vm_disk *disk, struct err *err);

/* Was the disk on record unplugged: is its device gone, and its active image on no other disk?  Only
 * a device with an id can be missed. */
bool disks_is_unplugged(const struct world *world, const json_t *state, const char *key);

/* Every disk on record is in the VM, with its chain as recorded and its frozen layers untouched, or
 * was unplugged. */
bool disks_check_all(const struct world *world, const json_t *state, struct err *err);

/* Is a frozen layer's file what it was when it was frozen? */
bool disks_check_frozen(const struct world *world, const json_t *state, const char *layer,
                        struct err *err);

/* False, and says which job is in the way. */
bool disks_refuse_job(const json_t *job, struct err *err);
/* No other job works on the VM's disks. */
bool disks_check_jobs(const struct world *world, struct err *err);

#endif
