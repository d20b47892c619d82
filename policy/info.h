/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info: SnapshotInfo, as clients see a snapshot.
 */
#ifndef POLICY_INFO_H
#define POLICY_INFO_H

#include <jansson.h>

/* new: the SnapshotInfo of one snapshot.  operation (or NULL) is what works on it now; problems
 * (stolen) is an array of sentences. */
json_t *info_snapshot(const json_t *state, const json_t *snapshot, const char *operation,
                      json_t *problems);

/* new: what is wrong with a snapshot, as far as the record and world.files (see world.h) tell. */
json_t *info_problems(const json_t *state, const json_t *snapshot, const json_t *files);

#endif
