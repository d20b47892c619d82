/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot_wire: a plain blocking QMP connection, for qmp-snapshot.
 *
 * Model: connect, read the greeting, negotiate, then one command at a time.  Events and answers to
 * nobody's question are skipped.  The answer is waited for without a limit, since a snapshot of
 * a large guest takes its time; connecting and negotiating have a deadline together.
 *
 * Rules: an error that QMP answered is no error of the wire: see snapshot_wire_command().  After an
 * error of the wire the connection is of no more use than to be freed.
 */
#ifndef PROXY_SNAPSHOT_WIRE_H
#define PROXY_SNAPSHOT_WIRE_H

#include <jansson.h>

#include "qmp/err.h"

#define SNAPSHOT_WIRE_LINE_MAX (16u << 20)  /* bytes */

struct snapshot_wire;

/* new: a negotiated connection, or NULL with *err set.  address: what policy/address.h
 * takes, fd:N excepted.  timeout in seconds, above 0; looking a host name up is not under it. */
struct snapshot_wire *snapshot_wire_open(const char *address, double timeout, struct err *err);

/* new: the whole answer, an object with "return" or "error"; NULL with *err set when the connection
 * or the protocol failed.  *steals* arguments, which may be NULL. */
json_t *snapshot_wire_command(struct snapshot_wire *wire, const char *name, json_t *arguments,
                              struct err *err);

void snapshot_wire_free(struct snapshot_wire *wire);

#endif
