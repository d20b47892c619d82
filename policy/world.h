/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world: what is known of QEMU and of the host's files at the moment an operation is planned.
 *
 * Model: collected by proxy/, then only read.  Everything that a planner decides, it decides from
 * this, from the record (state.h) and from the request; none of it is kept across operations, since
 * other monitors, HMP and the guest may change anything at any time.
 *
 * files: path (as QEMU was told, or from the record) -> { exists, and when it does: real, link (the
 * path is a symbolic link), kind ("file", "block", "other"), dev, ino, size, allocated (bytes that it
 * takes on the disk), capacity (bytes, of a block device), mtime (text, nanoseconds), format ("qcow2"
 * or "raw", by its first bytes), backing, backing-format, bitmaps (there are persistent ones), fixed
 * (QEMU does not grow it: block/qcow2.c, qcow2_co_truncate), bad (why a qcow2 header cannot be used), leads ({ dev, ino } of the file that `backing` leads to, when there is
 * one) }.
 * rooms: folder -> { free: bytes, writable: bool }, for folders in which files will be created.
 * drives: qdev (as query-block has it) -> { type (of the device: "virtio-blk-device", "scsi-hd" ...),
 * iothread (true: an I/O thread serves it or its controller) }.
 * open: "DEV:INO" -> true, for every file that the QEMU process has open; NULL: that cannot be told.
 * fit, program: the facts of policy/fit.h, of the VM as it is and of the program that a revert would
 * start; NULL: not known.
 */
#ifndef POLICY_WORLD_H
#define POLICY_WORLD_H

#include <jansson.h>
#include <stdbool.h>

#include "policy/args.h"
#include "policy/args_disks.h"
#include "policy/graph.h"

/* The second QEMU of a revert, as a restart finds it. */
enum world_next {
    WORLD_NEXT_NONE,                /* there is none any more: main may be it */
    WORLD_NEXT_ALIVE,
    WORLD_NEXT_GONE,                /* it has ended, and main is the first one */
};

struct world {
    const char *vm;                 /* name of the VM */
    const char *memory_dir;         /* absolute */
    const struct args *args;        /* the VM's command line, as the user has it; NULL: attached to a foreign
                                     * QEMU */
    const struct args *given;       /* the one that the next start begins with: the proxy's own */
    struct args *args_now;          /* with what clients changed over QMP since, as far as that can be
                                     * said (config_args.h); NULL: nothing */
    const struct args_disks *args_disks;    /* of args_now, or of args */
    struct args_disks *args_now_disks;  /* of args_now, or NULL */
    struct graph *graph;
    json_t *record;                 /* what was on record when this was asked; NULL: nothing */
    json_t *status;                 /* return of query-status */
    json_t *jobs;                   /* of query-jobs */
    json_t *memory_size;            /* of query-memory-size-summary */
    json_t *capabilities;           /* name -> bool */
    json_t *parameters;             /* of query-migrate-parameters */
    json_t *migration;              /* of query-migrate */
    int version[2];                 /* major, minor */
    enum world_next next;           /* for a recovery */
    bool other;                     /* the same: it is not the QEMU that the interrupted plan worked on */
    bool gone;                      /* the same: no QEMU is there: what was kept of it comes back, or what was to follow */
    long long now;                  /* microseconds since 1970 */
    json_int_t converge_ms;         /* how long a merge may fail to catch up with the guest */
    json_t *devices;                /* id -> true, of the devices that have one; NULL: not known */
    json_t *anonymous;              /* of qom-list: the devices that have none; NULL: not known */
    json_t *places;                 /* of those that clients added: id -> { property: value } */
    json_t *drives;                 /* of the disks' devices: qdev -> { type?, iothread } (see above); NULL: not
                                     * asked */
    json_t *files, *rooms, *open;
    json_t *fit, *program;
};

/* Can QEMU save its memory?  Refuses with what it says is in the way. */
bool world_check_migratable(const struct world *world, struct err *err);

/* new: { name: state } from the answer to query-migrate-capabilities. */
json_t *world_read_capabilities(const json_t *list);
/* new: { id: true } from the answer to qom-list about devices. */
json_t *world_read_devices(const json_t *list);

/* borrowed: the command line that describes the VM as it is; NULL when attached. */
const struct args *world_command_line(const struct world *world);

/* Asks what config says of the VM as it is: args_now and args_disks are set.  devices and places are there. */
void world_take_config(struct world *world, const json_t *config);

/* 9.2 or newer: the types of device_add are checked (config_args.h). */
bool world_is_typed(const int version[2]);

/* borrowed: the entry of a file, NULL when nothing is there. */
const json_t *world_file(const struct world *world, const char *path);
const char *world_status(const struct world *world);
/* Frees what the world owns: everything that is not const. */
void world_clear(struct world *world);

/* new: the folder part of a path ("." when it has none). */
char *world_dirname(const char *path);

#endif
