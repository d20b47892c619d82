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
 * Of a revert past its commit point whose QEMUs have both ended, the snapshot's memory is loaded once more, if nobody
 * has written to its overlays.
 *
 * Hot (QEMU runs): QEMU's graph decides.  A plan is made (policy/planner_recover.c) and carried out
 * as an operation: the guest goes on if the operation had stopped it, a create keeps its overlays or
 * drops them, a delete stays marked, a revert is taken back or, behind its commit point, finished.
 *
 * A foreign QEMU may be another one than the operation's: see policy/planner_recover_other.c.  Files that any
 * QEMU has open stay in each case (in_use.h).
 */
#ifndef PROXY_RECOVER_H
#define PROXY_RECOVER_H

#include "policy/world.h"
#include "proxy/daemon.h"

/* Before QEMU is started: settles what the journal says. */
bool recover_cold(struct daemon *daemon, struct err *err);

/* Was a revert interrupted after its commit point, so that a second QEMU is the VM?  Fails when that cannot be
 * told: then none must be ended. */
bool recover_wants_next(struct daemon *daemon, bool *wants, struct err *err);

/* No QEMU runs, since a revert by replace has ended it: is it brought back, with the memory that was kept?
 * If so *begun is true, and the VM is ready when that is done.  Otherwise recover_cold() is next.  False
 * with err: neither must be done. */
bool recover_present(struct daemon *daemon, bool *begun, struct err *err);

/* No QEMU runs, since the second one of a revert has ended, as the first was to: is a third one started in its place?
 * The VM is ready when that is done.  Else recover_cold() is next. */
bool recover_relaunch(struct daemon *daemon);

/* Has the foreign QEMU ended that the journal's plan was made for?  Then the one that is there is another one.
 * False where that is not known. */
bool recover_is_other(const struct daemon *daemon, const json_t *journal);

/* Which second QEMU has the operation of that journal, as things are now? */
enum world_next recover_next(const struct daemon *daemon, const json_t *journal);

/* QEMU was found running and answers. */
void recover_hot(struct daemon *daemon);

/* It is stuck, and is to be tried once more: new, the journal; NULL: it still is, or there is nothing left
 * to settle. */
json_t *recover_take_journal(struct daemon *daemon);

#endif
