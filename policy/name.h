/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * name: what a snapshot may be called.
 *
 * 1 to 64 characters of A-Z a-z 0-9 _ . -, not beginning with a dot or a dash: a name becomes part
 * of file names, node names and command lines, and must not mean anything in any of them.
 */
#ifndef POLICY_NAME_H
#define POLICY_NAME_H

#include <stdbool.h>

#include "qmp/err.h"

#define NAME_MAX_LEN 64

/* Refuses with reason "bad-name" and a sentence that says what a name may look like. */
bool name_check(const char *name, struct err *err);

#endif
