/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_late: what two QEMU processes cannot hold at once, and how the second gets it later.
 *
 * Model: each argument is shareable, or bound late (changed here, with a QMP command that undoes
 * the change once the old process is gone), or exclusive (refused with "needs-replace").
 *
 * Rules: unknown kinds of -object and -netdev count as exclusive.  What is bound late must come out
 * as it would have been bound at start: where a command cannot say that, it is exclusive.
 */
#ifndef POLICY_ARGS_LATE_H
#define POLICY_ARGS_LATE_H

#include "policy/args.h"

#include <jansson.h>

/* Changes args in place and appends to commands (a JSON array).  prefix: see args_rewrite.h. */
bool args_late_apply(struct args *args, const char *prefix, json_t *commands, struct err *err);

/* For a process that starts when the one before it has ended: what that has written to the files of its chardevs
 * is not emptied. */
void args_late_keep(struct args *args);

#endif
