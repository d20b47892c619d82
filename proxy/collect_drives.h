/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * collect_drives: asks QEMU what devices its disks are on, for a revert in place.
 *
 * Model: for every disk of query-block that has a device: its type, its own I/O thread, and its bus, whose
 * owner (a SCSI controller) is asked for its I/O thread too.  A property that a device has not is no
 * failure.
 */
#ifndef PROXY_COLLECT_DRIVES_H
#define PROXY_COLLECT_DRIVES_H

#include <jansson.h>
#include <stddef.h>

#include "proxy/link.h"

/* Sends the questions and returns how many; answered(arg) is called once for each, when it and what comes of it
 * is answered.  blocks: of query-block; out: world.drives.  Both are kept until then. */
size_t collect_drives(struct link *link, const json_t *blocks, json_t *out,
                      void (*answered)(void *arg), void *arg);

#endif
