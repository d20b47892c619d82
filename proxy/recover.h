/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover: an earlier proxy, or the host, ended in the middle of an operation.
 *
 * Cold (QEMU is gone): the files decide.  A create whose overlays exist has perhaps moved the disks
 * to them, and an empty overlay reads like the image below it: they are kept, as layers without a
 * name.  A revert goes back before its commit point and forward behind it.  A delete stays marked,
 * on the last record that fits the headers of the images.
 *
 * Hot (QEMU runs): the guest goes on if the operation had stopped it; new operations are refused
 * until the next start, which is a cold one.
 */
#ifndef PROXY_RECOVER_H
#define PROXY_RECOVER_H

#include "proxy/daemon.h"

/* Before QEMU is started: settles what the journal says. */
bool recover_cold(struct daemon *daemon, struct err *err);

/* QEMU was found running and answers. */
void recover_hot(struct daemon *daemon);

#endif
