/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request: are the arguments of one of our commands what its schema says?
 *
 * Words are those of QEMU's own visitor, so that a client sees no difference ("Parameter 'name' is
 * missing", "Invalid parameter type for 'live', expected: boolean").
 */
#ifndef POLICY_REQUEST_H
#define POLICY_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

/* arguments may be NULL: none. */
bool request_check(const char *command, const json_t *arguments, struct err *err);

/* Is this snapshot-delete ours (name), or QEMU's own (job-id, tag, devices)?  Both is an error. */
enum request_delete { REQUEST_DELETE_OURS, REQUEST_DELETE_QEMU, REQUEST_DELETE_BOTH };
enum request_delete request_delete_whose(const json_t *arguments);

#endif
