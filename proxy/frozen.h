/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frozen: keeps clients from writing to the layers of a disk that they have unplugged.
 *
 * Model: while a disk is in the VM, QEMU's own permissions and locks guard what lies below its active
 * layer.  When it is unplugged a client closes its node, which our overlays stand on: they are closed
 * first, so that this works as if there were none.  The file is then nobody's, and opening it again
 * for writing, as if nothing had happened since, would destroy what stands on it: that is refused.
 */
#ifndef PROXY_FROZEN_H
#define PROXY_FROZEN_H

#include "proxy/daemon.h"
#include "qmp/message.h"

/* A client's command is about to go to QEMU.  False: it must not ("chain-mismatch"). */
bool frozen_permits(struct daemon *daemon, const struct message *message, struct err *err);

#endif
