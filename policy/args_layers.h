/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_layers: one disk of the arguments moved onto the layers of a plan; see args_rewrite.h.
 */
#ifndef POLICY_ARGS_LAYERS_H
#define POLICY_ARGS_LAYERS_H

#include "policy/args_disks.h"
#include "policy/args_rewrite.h"

/* -drive and its short forms: the option is changed (or becomes the equal -drive) in its place. */
bool args_layers_drive(struct args *args, const struct args_disk *disk,
                       const struct disk_rewrite *rewrite, struct err *err);

/* -blockdev: the user's node becomes the bottom layer, the others follow it.  prefix and number
 * make up the names of layers that have none. */
bool args_layers_node(struct args *args, const struct args_disk *disk,
                      const struct disk_rewrite *rewrite, const char *prefix, size_t number,
                      struct err *err);

#endif
