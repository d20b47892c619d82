/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemuopts_json: dotted keys over a JSON object ("file.filename", "hostfwd.0.str"), for qemuopts.
 */
#ifndef POLICY_QEMUOPTS_JSON_H
#define POLICY_QEMUOPTS_JSON_H

#include "qmp/err.h"

#include <jansson.h>
#include <stdbool.h>

/* new, or NULL with err set: no JSON, a key given twice, or no object. */
json_t *qemuopts_json_load(const char *text, struct err *err);

/* Calls item for every scalar, in order, with its dotted key (borrowed for the call).  Empty
 * objects and arrays have no scalar and are not reported. */
void qemuopts_json_walk(const json_t *root,
                        void (*item)(void *opaque, const char *key, const json_t *scalar),
                        void *opaque);

/* new: a scalar as QEMU's text form would say it; true is "on". */
char *qemuopts_json_scalar(const json_t *scalar);

/* Sets a member by its dotted key (steals value); objects on the way are made. */
void qemuopts_json_set(json_t *root, const char *key, json_t *value);
/* Removes a member, or a whole object or array. */
bool qemuopts_json_remove(json_t *root, const char *key);

/* new: compact text. */
char *qemuopts_json_dump(const json_t *root);

#endif
