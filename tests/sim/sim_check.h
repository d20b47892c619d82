/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_check: is the world what the proxy claims, and is nothing lost?
 *
 * Model: what each snapshot on record holds is taken down when it is first seen, from what the images held
 * at the moment that overlays were put on them.  From then on, whatever is merged, moved and copied, its
 * layers have to read as that, and its memory has to be that.  A moment (before an operation) keeps what the
 * VM's disks and its guest are; behind the operation they are the same, or went on from there, or are the
 * snapshot that was reverted to.
 *
 * To be called when the proxy is at rest (sim_settle()) and not stuck; whatever is not so ends the
 * simulation (sim_fail()).
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include <jansson.h>
#include <stdbool.h>

void sim_check_begin(void);
void sim_check_end(void);

/* A file that is there from the start, and stays; files that clients make are told as well. */
void sim_check_keep(const char *path);
/* A step that clears up was made to fail: its file, its node, or a job that has ended, may be left. */
void sim_check_allow_leftovers(void);

/* The record against QEMU's graph, the headers, the files, and what the snapshots hold; jobs, nodes,
 * settings and files that nobody names. */
void sim_check_world(void);

struct sim_moment {
    json_t *disks;              /* qdev -> content */
    json_t *memory;             /* NULL: the guest has not run */
    json_t *names;              /* of the snapshots, those that are being deleted left out */
    json_int_t loaded;
    long serial;
    char status[32];
};

/* Without a QEMU: of the images on record. */
void sim_moment_take(struct sim_moment *moment);
void sim_moment_clear(struct sim_moment *moment);

/* The disks hold what they did, and what was written since; false: they do not. */
bool sim_check_disks_of(const struct sim_moment *moment);
/* The disks hold what the snapshot does, and what was written since. */
bool sim_check_disks_as(const struct sim_moment *moment, const char *snapshot);
/* The same guest goes on: fails when it is another one. */
void sim_check_guest_of(const struct sim_moment *moment);
/* It goes on from the snapshot's memory, or has none and is booted from its disks. */
void sim_check_guest_as(const struct sim_moment *moment, const char *snapshot, const char *target);
/* The names of the snapshots on record are those. */
bool sim_check_names(const json_t *names);

/* borrowed: what the snapshot's memory is; NULL: it has none. */
const json_t *sim_check_memory(const char *snapshot);

#endif
