/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * in_use: whether a file may be unlinked.
 *
 * Model: an image that a QEMU has open, or that the record names, is never unlinked, whatever a plan or a
 * journal says: the journal may be of a QEMU that is gone, and the one that runs may have been started by
 * somebody else.  What is known of that is an object
 *
 *   { named: [path], nodes: [file name], pids: [pid] }
 *
 * of the files that the record names, those that QEMU lists (query-named-block-nodes), and the processes that may
 * be QEMU; it is taken right before the deed (operation_remove.c), and compared by device and inode.  A last
 * witness is asked by in_use_check() itself: QEMU locks what it has open, so that one that nobody knows of is
 * found as well.
 *
 * Rules: who removes files has to have such an object (deeds.h).  Where a file name of QEMU's leads nowhere
 * from here, as QEMU may run in another folder, a file of the same name is in use.
 */
#ifndef PROXY_IN_USE_H
#define PROXY_IN_USE_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

/* new: of the record alone: no QEMU is there. */
json_t *in_use_new(const json_t *state);

/* A process that may have images open; 0: none. */
void in_use_add_process(json_t *known, long pid);

/* The return of query-named-block-nodes. */
void in_use_add_nodes(json_t *known, const json_t *nodes);

/* Does the record name the file?  Of one in the memory folder, which is ours alone, that is all that matters: QEMU may
 * keep the node of a save that has failed. */
bool in_use_on_record(const json_t *known, const char *path);

/* Must the file be left where it is?  Then why says so.  Blocks, up to a second where only a lock says that
 * somebody has it open: a process that was just killed takes its time. */
bool in_use_check(const json_t *known, const char *path, struct err *why);

#endif
