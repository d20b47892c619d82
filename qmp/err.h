/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * err: why something was refused or failed.
 *
 * Model: one error has a class (QMP's, nearly always GenericError), a sentence for people and,
 * where the refusal is one of the documented ones, a fixed word (the reason) with the names
 * involved, which reach the client as the member "data" of the error.
 *
 * Rules: a function that can fail is `bool f(..., struct err *err)`.  The caller owns the err and
 * starts it with ERR_INIT; it is untouched on success.  The first error stays: setting an err that
 * is already set is a bug.  Whoever handles the error calls err_clear().
 */
#ifndef QMP_ERR_H
#define QMP_ERR_H

#include <jansson.h>
#include <stdbool.h>

#define ERR_DESC_MAX 1024

struct err {
    bool set;
    const char *class_name;     /* static; QMP's error class */
    const char *reason;         /* static; NULL when the error is none of the documented refusals */
    char desc[ERR_DESC_MAX];    /* one sentence, UTF-8 (U+0000 is C0 80), cut when too long */
    json_t *data;               /* names involved, or NULL; owned */
    bool unsynced;              /* an fsync has failed: another one that does not tells nothing */
};

#define ERR_INIT { .set = false }

/* Sets a GenericError.  reason may be NULL. */
void err_set(struct err *err, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets an error of another class, say "CommandNotFound". */
void err_set_class(struct err *err, const char *class_name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a name to data, e.g. ("snapshot", "s1").  A value of NULL is ignored. */
void err_name(struct err *err, const char *key, const char *value);

/* Puts "TEXT: " before the sentence, to say what was tried. */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Moves an error from one owner to another: *to must be clear, *from is clear afterwards. */
void err_move(struct err *to, struct err *from);

/* new: the QMP error object {"class", "desc", "data"?}. */
json_t *err_to_json(const struct err *err);

void err_clear(struct err *err);

#endif
