/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * collect_fit: the part of collect.h that finds the facts of policy/fit.h.
 */
#ifndef PROXY_COLLECT_FIT_H
#define PROXY_COLLECT_FIT_H

#include "policy/fit.h"

/* The process, by its answers to fit_queries (in that order, borrowed): fit, version, memory_size. */
void collect_fit(struct world *world, json_t *const *answers);

/* Adds to the arguments of deed_inspect the program that would start for the snapshot. */
void collect_fit_ask(const struct world *world, const json_t *snapshot, json_t *arguments);

/* Takes what the deed found out. */
void collect_fit_program(struct world *world, const json_t *found);

#endif
