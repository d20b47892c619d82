/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * observe: what clients did to the disks with commands of QEMU's own, brought into the record.
 *
 * Model: the running chains are compared with those on record, file by file (device and inode).
 *
 *   more images on top   a client's snapshot: each extra image is a new layer, and what it stands on is
 *                        frozen by a snapshot of origin "observed".  Disks that got one by the same
 *                        command, or by commands nobody has seen, share a snapshot
 *   images missing       a client's block job.  When the image below them is what it was, they were
 *                        streamed into the one above, which reads the same as before.  Else they were
 *                        committed into it, or may have been: every snapshot that stands on that image,
 *                        other than through the one above, is marked as damaged
 *
 * Rules: pure.  A disk of which nothing can be proven is left as it is on record, so that it is refused
 * as chain-mismatch: a foreign image in the middle, another order, a header that does not lead to what
 * is below, a job that still works on the chain, an image of a kind that cannot be snapshotted.
 */
#ifndef POLICY_OBSERVE_H
#define POLICY_OBSERVE_H

#include "policy/world.h"

/* new: the record that the running chains show; NULL: nothing has changed that could be recorded.
 * commands (or NULL): an array, for each snapshot command of a client that was seen, of what
 * observe_command() gave.  Snapshots that come in are the last ones of the new record. */
json_t *observe(const struct world *world, const json_t *state, const json_t *commands);

/* new: the overlays that the command puts on disks, by node-name or by file; NULL: it puts none.
 * arguments may be NULL. */
json_t *observe_command(const char *command, const json_t *arguments);

#endif
