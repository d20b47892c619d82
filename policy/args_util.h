/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_util: the few string helpers that the args_* files share.  Out of memory aborts.
 */
#ifndef POLICY_ARGS_UTIL_H
#define POLICY_ARGS_UTIL_H

#include <stdbool.h>
#include <stddef.h>

/* new: a copy; NULL stays NULL. */
char *args_util_dup(const char *text);
char *args_util_ndup(const char *text, size_t len);
/* new */
char *args_util_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* realloc that aborts. */
void *args_util_grow(void *old, size_t n, size_t size);

/* Whether text begins with prefix; *rest (may be NULL) is set to what follows, else untouched. */
bool args_util_prefix(const char *text, const char *prefix, const char **rest);
/* Both NULL, or the same text. */
bool args_util_same(const char *a, const char *b);
/* Whether word stands in the NULL-terminated list. */
bool args_util_listed(const char *word, const char *const *list);

/* For locals: __attribute__((cleanup(args_util_free_text))) char *text = NULL; */
void args_util_free_text(char **text);
#define ARGS_AUTO_TEXT __attribute__((cleanup(args_util_free_text))) char *

#endif
