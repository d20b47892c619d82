/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemuopts: the value of one QEMU option, "key=value,key=value".
 *
 * Model: an ordered list of (key, value).  Commas inside a value are doubled; the first item may
 * leave its key out (the implied key: `-device virtio-blk-pci,...` means driver=); a word without
 * '=' is a switch: `server` is server=on, `nowait` is wait=off.  Text that begins with '{' is a
 * JSON object; its members show up as dotted keys ("file.filename", "hostfwd.0.str"), true and
 * false as "on" and "off", null as a value of QEMUOPTS_NULL.
 *
 * Rules: what nobody touches is rendered byte for byte as it was given, item by item, so that a
 * change of one key does not rewrite its neighbours.  JSON is rendered as JSON.  A key given twice
 * means its last value, as in QEMU (util/qemu-option.c: qemu_opt_get, util/keyval.c).
 */
#ifndef POLICY_QEMUOPTS_H
#define POLICY_QEMUOPTS_H

#include "qmp/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct qemuopts;

struct qemuopt {
    char *key;
    char *value;        /* never NULL; QEMUOPTS_NULL itself for JSON's null */
    char *raw;          /* the item as it was given, or NULL when it was set later (or is JSON) */
};

/* The value of a JSON null, compared by pointer or with qemuopts_is_null(). */
extern const char QEMUOPTS_NULL[];

/* new, or NULL with err set: JSON that is none.  implied: key of the first item, or NULL. */
struct qemuopts *qemuopts_parse(const char *text, const char *implied, struct err *err);
/* new: no items, rendered as "key=value" text. */
struct qemuopts *qemuopts_new(void);
/* new: takes a JSON object over (steals it); rendered as JSON. */
struct qemuopts *qemuopts_new_json(json_t *object);
void qemuopts_free(struct qemuopts *opts);

size_t qemuopts_count(const struct qemuopts *opts);
/* borrowed until the next change of opts. */
const struct qemuopt *qemuopts_at(const struct qemuopts *opts, size_t i);

/* The last value of the key, or NULL.  borrowed until the next change of opts. */
const char *qemuopts_get(const struct qemuopts *opts, const char *key);
/* on/yes/true/y against everything else; def when the key is not there. */
bool qemuopts_get_bool(const struct qemuopts *opts, const char *key, bool def);
bool qemuopts_is_null(const struct qemuopts *opts, const char *key);
/* Whether any key is PREFIX itself or begins with "PREFIX.". */
bool qemuopts_has_group(const struct qemuopts *opts, const char *prefix);
bool qemuopts_is_json(const struct qemuopts *opts);

/* Sets the (last) value of a key, in its place; appended when the key is new. */
void qemuopts_set(struct qemuopts *opts, const char *key, const char *value);
void qemuopts_set_bool(struct qemuopts *opts, const char *key, bool value);
/* Removes every item of that key; true when there was one. */
bool qemuopts_remove(struct qemuopts *opts, const char *key);
/* Removes PREFIX itself and all of "PREFIX.". */
bool qemuopts_remove_group(struct qemuopts *opts, const char *prefix);

/* new: the text for the command line. */
char *qemuopts_render(const struct qemuopts *opts);

#endif
