/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover_look: what the files say of an interrupted operation, where no QEMU is there to be asked.
 *
 * As long as a file system is not mounted nothing can be told of what lies on it: that a file is not there says
 * something only where images on record are, beside it.
 *
 * Rules: only looks; blocks.  `before` is the record as it is, `after` that which the operation would leave.
 */
#ifndef PROXY_RECOVER_LOOK_H
#define PROXY_RECOVER_LOOK_H

#include "policy/world.h"
#include "proxy/daemon.h"

/* What the files say that a record names.  world.files is new (also when this fails), all else borrowed. */
bool recover_look_at(struct daemon *daemon, const json_t *state, struct world *world, struct err *err);

/* Are the images there that the disks stood on before? */
bool recover_look_images(const struct world *world, const json_t *before, const json_t *after, struct err *err);

/* Are the overlays there that the disks would run on? */
bool recover_look_overlays(const struct world *world, const json_t *before, const json_t *after);

/* Are images on record there in the folder of that file, if there should be any? */
bool recover_look_beside(const struct world *world, const json_t *before, const char *file, struct err *err);

#endif
