/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot_print: what qmp-snapshot shows to people.
 *
 * Model: each function prints one answer of the proxy (SnapshotInfo, SnapshotResult as in the
 * manual) to a stream: members that are missing or of another type than documented print as "-",
 * since a newer proxy must stay readable.
 *
 * Rules: names and descriptions come from other people: control characters are printed as "?" and
 * line ends as a space, so that nobody's terminal is driven by a description.  Columns are counted
 * in characters, not bytes; wide characters count as one.
 */
#ifndef PROXY_SNAPSHOT_PRINT_H
#define PROXY_SNAPSHOT_PRINT_H

#include <jansson.h>
#include <stdio.h>

/* infos: [SnapshotInfo].  A table, one line each; "*": the current one, "!": it has problems. */
void snapshot_print_list(FILE *out, const json_t *infos);

/* The same as a drawn tree; a snapshot whose parent is not in the list is a root.  Lines are drawn
 * with line characters where the locale has them (setlocale() is up to the caller). */
void snapshot_print_tree(FILE *out, const json_t *infos);

/* All members of one SnapshotInfo. */
void snapshot_print_show(FILE *out, const json_t *info);

/* The problems of each, or "ok"; returns how many problems there are. */
size_t snapshot_print_verify(FILE *out, const json_t *infos);

/* plan: [SnapshotStep], numbered, with undo, bytes and commit point, and a summary. */
void snapshot_print_plan(FILE *out, const json_t *plan);

/* reasons (may be NULL): why the method was chosen, a line each. */
void snapshot_print_reasons(FILE *out, const json_t *reasons);

/* command: "snapshot-create", ...; result: SnapshotResult.  One line that says what was done. */
void snapshot_print_result(FILE *out, const char *command, const char *name,
                           const json_t *result);

/* error: QMP's error object, printed as "program: desc (reason)". */
void snapshot_print_error(FILE *out, const char *program, const json_t *error);

/* For the files of this module.  text: made harmless, NULL and "" as "-", padded to width
 * characters (0: as it comes). */
void snapshot_print_text(FILE *out, const char *text, size_t width);
/* Characters that snapshot_print_text() prints. */
size_t snapshot_print_width(const char *text);
/* "1.5 MiB" into buf (at least 32 bytes); "-" for what is no size.  Returns buf. */
const char *snapshot_print_size(const json_t *bytes, char *buf);

#endif
