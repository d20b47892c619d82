/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_layers: from layers on record to QEMU's command line.
 */
#ifndef POLICY_PLANNER_LAYERS_H
#define POLICY_PLANNER_LAYERS_H

#include "policy/args.h"
#include "policy/world.h"
#include "qmp/err.h"

/* Whether and how the process waits at its start. */
enum layers_start { LAYERS_RUN, LAYERS_PAUSED, LAYERS_INCOMING };

/* new: `args` with each disk of `actives` (key -> id of its active layer) on its layers.  Keys that
 * the arguments do not have are refused, or left out when `lenient`.  prefix: of the sockets that stand
 * in (args_rewrite.h), may be NULL, and so may *late. */
char **layers_rewrite(const struct args *args, const json_t *state, const json_t *actives,
                      enum layers_start start, const char *prefix, json_t **late, struct err *err);

/* Do the headers of the chain below and with layer `id` name what the record says? */
bool layers_check_headers(const struct world *world, const json_t *state, const char *id,
                          struct err *err);

/* The same for one layer, and the one below it. */
bool layers_check_header(const struct world *world, const json_t *state, const char *id,
                         struct err *err);

/* Are the foreign images below `id` what they were?  Not asked at a start: the VM is more than its
 * snapshots. */
bool layers_check_foreign(const struct world *world, const json_t *state, const char *id,
                          struct err *err);

/* new: the step that looks whether the layer's header names what it should, durably. */
json_t *layers_header_step(const json_t *state, const char *id);

/* new: {"is": "chain"} for the disks of `actives`, as they must be open in the new process. */
json_t *layers_expect(const json_t *state, const json_t *actives);

#endif
