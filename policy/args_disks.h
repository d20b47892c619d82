/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_disks: the disks that a QEMU command line names.
 *
 * Model: a disk is a -drive (or one of its short forms: -hda, -cdrom, -fda, -pflash, -sd, a bare
 * image) or a -blockdev node that holds an image and that no other image node stands on.  Filters
 * (throttle, copy-on-read, ...) are looked through; a node that another names as `backing` is a
 * lower layer of that disk and no disk of its own.
 *
 * Ids of drives are what query-block calls them: given, or made up from interface, bus and unit
 * (blockdev.c: drive_new; IDE has two units a bus, one on q35).
 */
#ifndef POLICY_ARGS_DISKS_H
#define POLICY_ARGS_DISKS_H

#include "policy/args.h"

enum args_disk_kind {
    ARGS_DISK_DRIVE,
    ARGS_DISK_BLOCKDEV,
    ARGS_DISK__COUNT
};

struct args_disk {
    enum args_disk_kind kind;
    char *key;              /* stable identity for records: "drive:ID" or "node:NAME" */
    char *id;               /* DRIVE: name of the BlockBackend; BLOCKDEV: NULL */
    char *node_name;        /* as given, or NULL */
    char *path;             /* image file, "file:" stripped; NULL: empty drive, or no local file */
    char *format;           /* driver as given ("raw"), or NULL: QEMU probes */
    bool read_only;         /* cdrom included */
    bool cdrom;
    bool snapshot;          /* snapshot=on, or -snapshot: writes go to a temporary file */
    bool discard;           /* discards go through to the image */
    bool attached;          /* BLOCKDEV: a -device or -machine names it, maybe through filters */
    size_t arg;             /* position of its option in the args */
    size_t file_arg;        /* BLOCKDEV: position of the -blockdev of its file node, else = arg */
};

struct args_disks {
    struct args_disk *v;
    size_t n;
};

#define ARGS_DISKS_INIT { .v = NULL, .n = 0 }

/* All disks in the order of the command line.  Fails only on text that QEMU would not take. */
bool args_disks_find(const struct args *args, struct args_disks *out, struct err *err);
void args_disks_clear(struct args_disks *disks);

/* borrowed, or NULL. */
const struct args_disk *args_disks_get(const struct args_disks *disks, const char *key);

/* Refuses what makes snapshots impossible, before the first change; see args_check_disk() and
 * args_check_arguments().  Disks that are read-only are not looked at. */
bool args_check_snapshots(const struct args *args, struct err *err);

/* One disk: reasons "unsupported-disk" (not a local file, a key that the rewriter does not know,
 * an image without a node of its own) and "unsupported-argument" (snapshot=on). */
bool args_check_disk(const struct args *args, const struct args_disk *disk, struct err *err);

/* Everything but the disks: "unknown-argument", "unsupported-argument". */
bool args_check_arguments(const struct args *args, struct err *err);

#endif
