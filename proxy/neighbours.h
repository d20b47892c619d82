/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * neighbours: the records of other VMs, in the folders beside this one's state folder.
 *
 * A VM that gets another name has another record, an empty one, in which the images that its command line names
 * are not known: it would write to what its own snapshots stand on.  So those of the neighbours are asked.
 *
 * Rules: only read; what is no record, or somebody else's, is passed over.
 */
#ifndef PROXY_NEIGHBOURS_H
#define PROXY_NEIGHBOURS_H

#include "policy/world.h"
#include "proxy/store.h"

/* May the VM be started for all that they know (planner_start_spares())?  Blocks. */
bool neighbours_allow(const struct store *store, const struct world *world, struct err *err);

#endif
