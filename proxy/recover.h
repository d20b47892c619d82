/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover: an earlier proxy, or the host, ended in the middle of an operation.
 *
 * Cold (QEMU is gone): the files decide.  A create whose overlays exist has perhaps moved the disks
 * to them, and an empty overlay reads like the image below it: they are kept, as layers without a
 * name.  A revert goes back before its commit point and forward behind it.  A delete stays marked,
 * on the last record that fits the headers of the images.
 *
 * Of a revert by replace that ended QEMU and has not got a second one, the memory was kept: the guest
 * comes back as it stopped, if that is whole.
 *
 * Hot (QEMU runs): QEMU's graph decides.  A plan is made (policy/planner_recover.c) and carried out
 * as an operation: the guest goes on if the operation had stopped it, a create keeps its overlays or
 * drops them, a delete stays marked, a revert is taken back or, behind its commit point, finished.
 */
#ifndef PROXY_RECOVER_H
#define PROXY_RECOVER_H

#include "proxy/daemon.h"

/* Before QEMU is started: settles what the journal says. */
bool recover_cold(struct daemon *daemon, struct err *err);

/* Was a revert interrupted after its commit point, so that a second QEMU is the VM? */
bool recover_wants_next(struct daemon *daemon);

/* No QEMU runs, since a revert by replace has ended it: is it brought back, with the memory that was kept?
 * If so *begun is true, and the VM is ready when that is done.  Otherwise recover_cold() is next.  False
 * with err: neither must be done. */
bool recover_present(struct daemon *daemon, bool *begun, struct err *err);

/* QEMU was found running and answers. */
void recover_hot(struct daemon *daemon);

/* It is stuck, and is to be tried once more: new, the journal; NULL: it still is, or there is nothing left
 * to settle. */
json_t *recover_take_journal(struct daemon *daemon);

#endif
