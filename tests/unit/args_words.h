/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_words: command lines of tests written as one string, words parted by single blanks.
 */
#ifndef TESTS_UNIT_ARGS_WORDS_H
#define TESTS_UNIT_ARGS_WORDS_H

#include <stdlib.h>
#include <string.h>

#include "policy/args.h"
#include "policy/args_util.h"

/* new; "qemu" is put before the words. */
static inline struct args *words_parse(const char *line, struct err *err)
{
    ARGS_AUTO_TEXT copy = args_util_dup(line);
    char *argv[64] = { (char *)"qemu" };
    char *rest = NULL;
    int argc = 1;

    for (char *w = strtok_r(copy, " ", &rest); w && argc < 63; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    return args_parse(argc, argv, err);
}

/* new: the words of argv without the first. */
static inline char *words_join(char *const *argv)
{
    char *out = args_util_dup("");

    for (size_t i = 1; argv[i]; i++) {
        char *more = args_util_format("%s%s%s", out, i > 1 ? " " : "", argv[i]);

        free(out);
        out = more;
    }
    return out;
}

/* new: what args_render() says. */
static inline char *words_render(const struct args *args)
{
    char **argv = args_render(args);
    char *out = words_join(argv);

    args_strv_free(argv);
    return out;
}

#endif
