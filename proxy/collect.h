/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * collect: asks QEMU and the host for everything that a planner wants to know.
 *
 * QEMU's answers are not of one moment; answers that contradict each other make no graph, and the
 * operation is refused before anything was changed.
 */
#ifndef PROXY_COLLECT_H
#define PROXY_COLLECT_H

#include "policy/world.h"
#include "proxy/daemon.h"

struct collect;

/* world is the callee's to keep (world_clear) when ok; else err says why. */
typedef void collect_cb(void *arg, bool ok, struct world *world, struct err *err);

/* with_qemu false: the files and folders only, for a start. */
struct collect *collect_start(struct daemon *daemon, const json_t *state, bool with_qemu,
                              collect_cb *cb, void *arg);
/* Right behind that: what the program is that would start for this snapshot (world.program). */
void collect_program(struct collect *collect, const json_t *snapshot);
/* No callback will come. */
void collect_cancel(struct collect *collect);

/* Fills the parts of a world that the daemon has itself. */
void collect_static(struct daemon *daemon, struct world *world);

/* new: arguments for deed_inspect. */
json_t *collect_paths(const struct world *world, const json_t *state);

#endif
