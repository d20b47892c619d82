/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner: from a request, the record and the world to a plan, or to the reason why not.
 *
 * Pure.  A plan that comes out of here was checked as a whole: what can be known to fail is refused
 * now.  request is the command's arguments, whose types were checked (request.h); the plan's
 * "after" is the record once the plan is done.
 */
#ifndef POLICY_PLANNER_H
#define POLICY_PLANNER_H

#include "policy/world.h"
#include "qmp/err.h"

/* new, or NULL with err set. */
json_t *planner_create(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err);
json_t *planner_revert(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err);
json_t *planner_delete(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err);

/* A create whose guest stays stopped at its end, for revert's save-as; of the revert's request, with "memory" as
 * for a create. */
json_t *planner_save_as(const struct world *world, const json_t *state, const json_t *request,
                        struct err *err);

/* ---- after an interruption ---- */

/* Was the journal's operation past its point of no return? */
bool planner_journal_committed(const json_t *journal, const json_t *state);

/* borrowed: what a revert by replace has kept of the VM before it ended it ("present" of the plan: { args,
 * memory? }), which is to be brought back where no QEMU is there; NULL: nothing. */
const json_t *planner_journal_present(const json_t *journal, const json_t *state);

/* Can a third QEMU take the place of the second one of that plan, a revert past its commit point, if both have ended
 * (planner_relaunch.c)?  It is noted in the plan before that is done; a second one that is found behind such a note
 * may not be loaded. */
bool planner_can_relaunch(const json_t *plan, const json_t *state);
void planner_note_relaunch(json_t *plan);
bool planner_is_relaunch(const json_t *journal);

/* new: the plan that settles a journal while QEMU runs; NULL: it cannot be told where the disks are.
 * Of the world only a committed journal needs nothing.  A plan with "again": true only ends jobs: then
 * another one is made from what the world is like behind it. */
json_t *planner_recover(const struct world *world, const json_t *state, const json_t *journal,
                        struct err *err);

/* new: the files that the plan removes at its end and that the record does not name. */
json_t *planner_unneeded(const json_t *plan, const json_t *state);

/* new: the record of a create without its snapshot: its overlays stay, as layers without a name. */
json_t *planner_adopted(const json_t *plan, const json_t *state);

/* new: the files whose facts (world.files) a planner will want, beside those in the graph: all that
 * the record names. */
json_t *planner_files(const json_t *state);

/* new: the command line with which a VM that has a record is started (again) on its current layers.
 * Only files, rooms and the arguments of the world are looked at. */
char **planner_start(const struct world *world, const json_t *state, struct err *err);

/* May the VM be started, for all that another one's record says, which lies in that folder?  Not on an image, unless
 * it is on this VM's record, that snapshots of the other stand on. */
bool planner_start_spares(const struct world *world, const json_t *state, const json_t *other,
                          const char *folder, struct err *err);

#endif
