/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * overlay: the new image that goes on top of a layer.
 *
 * Model: it lies beside the layer it stands on.  Its header names that layer by the very string that
 * QEMU opens it by, since QEMU shows file names as json:{...} where the two differ (block.c,
 * bdrv_backing_overridden).  Its number is the record's counter, so a name is never used twice.
 */
#ifndef POLICY_OVERLAY_H
#define POLICY_OVERLAY_H

#include "policy/world.h"
#include "qmp/err.h"

/* Adds the record of a new overlay on layer `below` to the state and returns its id (borrowed from
 * the state), or NULL: there is no room, or the folder cannot be written.  Whether something is at
 * that path is asked when the plan is complete (proxy/deeds.h, preflight). */
const char *overlay_plan(const struct world *world, json_t *state, const char *below,
                         struct err *err);

/* new: the step that creates the file, with its undo. */
json_t *overlay_step(const json_t *state, const char *id);

/* The string that the header of an overlay of ours gives for the layer below (borrowed).  A relative
 * path with a folder in it would be looked for from the overlay's folder: then it is the absolute
 * path. */
const char *overlay_backing(const json_t *below);

/* The string by which the header of `layer` names what is below (borrowed): that of overlay_backing(),
 * or another one that a client has given. */
const char *overlay_header(const json_t *layer, const json_t *below);

/* new: the path at which QEMU looks for what the header of the image that it opened as `opened` names;
 * NULL: by a protocol, or not at all (block.c, bdrv_get_full_backing_filename_from_filename). */
char *overlay_resolve(const char *opened, const char *header);

/* Is there room for `bytes` in the folder of path? */
bool overlay_check_room(const struct world *world, const char *path, json_int_t bytes,
                        struct err *err);

/* new: what blockdev-add opens the layer with, which stands on nothing yet.  It is worked with as the
 * image below is (BlockDeviceInfo; discard: what the command line says): what the user has said of the
 * disk goes on to hold, as it does in a process that is started on the overlay. */
json_t *overlay_options(const json_t *layer, const json_t *below, bool discard);

#endif
