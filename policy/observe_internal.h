/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * observe_internal: what observe.c (which disks), observe_chain.c (what has become of one chain) and
 * observe_record.c (snapshots and configuration) share.
 */
#ifndef POLICY_OBSERVE_INTERNAL_H
#define POLICY_OBSERVE_INTERNAL_H

#include "policy/disks.h"
#include "policy/observe.h"

struct observe {
    const struct world *world;
    const json_t *commands;
    json_t *state;          /* the record to be */
    json_t *frozen;         /* [{ level, command, name, key, layer }]: a snapshot's disk each */
};

/* Does the header of that image lead to the next one (below false: to none)? */
bool observe_leads(const struct world *world, const struct graph_link *link, bool below);

/* The images of chain[0..extra) become layers on the disk's active one. */
bool observe_add_overlays(struct observe *observe, const struct vm_disk *disk, size_t extra);

/* A disk on record: compares, and brings the record up to date.  False: nothing can be proven, and
 * observe->state is of no use. */
bool observe_chain(struct observe *observe, const struct vm_disk *disk);

/* Which of the commands named the image as an overlay; -1: none. */
json_int_t observe_command_of(const struct observe *observe, const struct graph_link *link);

/* From `frozen` to snapshots. */
void observe_add_snapshots(struct observe *observe);

/* Takes out of the record's configuration what opened images that are on record: the next process
 * opens them by the record. */
void observe_tidy_config(struct observe *observe);

#endif
