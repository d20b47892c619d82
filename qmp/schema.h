/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * schema: the proxy's own commands and events in QEMU's lists of itself.
 *
 * Model: QEMU's answer to query-commands or query-qmp-schema is an array of objects; ours are
 * appended to its bytes, QEMU's are not parsed and printed again.  The entries are data, in
 * schema_data.c.  In query-qmp-schema the type names of QEMU are numbers ("7", "[7]"), ours begin
 * with "Snapshot", so they cannot clash; built-in types ("str", "int", "bool") are QEMU's own.
 *
 * Rules: the array is the value that QEMU returned (message_reply.value); where it is not an array
 * of objects the result is NULL.  Results are *new*, from malloc, on one line, and end in a NUL
 * that is not counted.
 */
#ifndef QMP_SCHEMA_H
#define QMP_SCHEMA_H

#include <stddef.h>

#include "qmp/span.h"

/* The largest line that QEMU's own Python client reads; what is merged stays below with QEMU 7.2's
 * 207 KB. */
#define SCHEMA_LINE_MAX ((size_t)256 * 1024)

/* new: the value of query-commands with {"name": X} added for each X of names (NULL at the end)
 * that is not there yet. */
char *schema_merge_commands(struct span array, const char *const *names, size_t *len);

/*
 * new: the value of query-qmp-schema with the proxy's commands, events and types.  QEMU's own entry
 * for snapshot-delete, if there is one, is replaced by one that takes the members of both.
 */
char *schema_merge_qmp_schema(struct span array, size_t *len);

/* The entries that are added, each one line of JSON; NULL at the end. */
extern const char *const schema_entries[];

#endif
