/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover_internal: what recover.c and recover_create.c share: recoveries while no QEMU runs.
 */
#ifndef PROXY_RECOVER_INTERNAL_H
#define PROXY_RECOVER_INTERNAL_H

#include "proxy/recover.h"

/* Takes back the making of the plan's files; what fails is logged. */
void recover_undo_files(const struct daemon *daemon, const json_t *plan);

/* Settles a create whose record was not written; false: it cannot be, for now, and nothing has changed. */
bool recover_create(struct daemon *daemon, const json_t *plan, struct err *err);

#endif
