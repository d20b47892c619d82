/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_check_internal: what sim_check.c (the record and the world), sim_model.c (what snapshots hold) and
 * sim_moment.c (before and after) share.
 */
#ifndef TESTS_SIM_CHECK_INTERNAL_H
#define TESTS_SIM_CHECK_INTERNAL_H

#include "tests/sim/sim_check.h"
#include "tests/sim/sim_qemu.h"

/* borrowed: the proxy's record; the file of one of its layers. */
const json_t *sim_record(void);
const char *sim_layer_path(const char *id);
/* The running VM's disk with that key; NULL: there is none. */
struct sim_disk *sim_disk_of(const char *key);

void sim_model_begin(void);
void sim_model_end(void);
/* Takes down the snapshots that are new, and looks at all. */
void sim_model_check(void);
/* borrowed: what the snapshot holds of that disk (by its key); NULL: it is not known. */
const json_t *sim_model_content(const char *snapshot, const char *key);
/* The migration settings are those that clients have made. */
void sim_model_check_settings(const struct sim_qemu *qemu);
/* Are all numbers those, or greater than serial? */
bool sim_content_goes_on(const json_t *content, const json_t *before, long serial);

#endif
