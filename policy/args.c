/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args.h"

#include "policy/args_internal.h"
#include "policy/args_util.h"
#include "policy/qemuopts.h"
#include "policy/reason.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void arg_clear(struct arg *arg)
{
    free(arg->word);
    free(arg->value);
}

static struct arg arg_make(const char *word, const char *value)
{
    struct arg arg = { .word = args_util_dup(word), .value = args_util_dup(value) };

    if (arg.word) {
        arg.name = arg.word + 1;
        if (arg.name[0] == '-')
            arg.name++;
        arg.row = options_table_find(arg.name);
    }
    return arg;
}

static void arg_put(struct args *args, size_t at, struct arg arg)
{
    args->v = args_util_grow(args->v, args->n + 1, sizeof(*args->v));
    memmove(&args->v[at + 1], &args->v[at], (args->n - at) * sizeof(*args->v));
    args->v[at] = arg;
    args->n++;
}

/* system/vl.c: default_monitor is switched off by any of these. */
static bool arg_is_monitor(const struct arg *arg)
{
    if (!arg->row)
        return false;
    if (arg->row->class == OPTION_MONITOR)
        return true;
    /* A monitor in a mux counts too. */
    return (strcmp(arg->name, "serial") == 0 || strcmp(arg->name, "parallel") == 0) &&
           args_util_prefix(arg->value, "mon:", NULL);
}

/* A word without a dash: an image, unless it may be the value of an unknown option before it. */
static void parse_bare(struct args *args, const char *word)
{
    const struct arg *before = args->n ? &args->v[args->n - 1] : NULL;
    struct arg arg = { .value = args_util_dup(word) };

    arg.image = !(before && before->word && !before->row);
    arg_put(args, args->n, arg);
}

static bool parse_option(struct args *args, int argc, char *const argv[], int *i, struct err *err)
{
    struct arg arg = arg_make(argv[*i], NULL);

    if (arg.name[0] == '\0') {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "'%s' is no option that QEMU has", argv[*i]);
        arg_clear(&arg);
        return false;
    }
    if (arg.row && arg.row->takes_value) {
        if (*i + 1 >= argc) {
            err_set(err, REASON_UNSUPPORTED_ARGUMENT, "%s must be followed by a value", argv[*i]);
            arg_clear(&arg);
            return false;
        }
        arg.value = args_util_dup(argv[++*i]);
    }
    /* Remembered, as the monitors themselves are about to be taken out. */
    args->had_monitor |= arg_is_monitor(&arg);
    arg_put(args, args->n, arg);
    return true;
}

struct args *args_parse(int argc, char *const argv[], struct err *err)
{
    struct args *args;

    if (argc < 1) {
        err_set(err, NULL, "the command line of QEMU is empty");
        return NULL;
    }
    args = args_util_grow(NULL, 1, sizeof(*args));
    *args = (struct args){ .binary = args_util_dup(argv[0]) };
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            parse_bare(args, argv[i]);
        } else if (!parse_option(args, argc, argv, &i, err)) {
            args_free(args);
            return NULL;
        }
    }
    return args;
}

struct args *args_copy(const struct args *args)
{
    struct args *copy = args_util_grow(NULL, 1, sizeof(*copy));

    *copy = (struct args){ .binary = args_util_dup(args->binary),
                           .had_monitor = args->had_monitor };
    for (size_t i = 0; i < args->n; i++) {
        struct arg arg = arg_make(args->v[i].word, args->v[i].value);

        arg.image = args->v[i].image;
        arg_put(copy, copy->n, arg);
    }
    return copy;
}

void args_free(struct args *args)
{
    if (!args)
        return;
    for (size_t i = 0; i < args->n; i++)
        arg_clear(&args->v[i]);
    free(args->v);
    free(args->binary);
    free(args->name);
    free(args->machine);
    free(args);
}

char **args_render(const struct args *args)
{
    char **argv = args_util_grow(NULL, 2 * args->n + 2, sizeof(*argv));
    size_t n = 0;

    argv[n++] = args_util_dup(args->binary);
    for (size_t i = 0; i < args->n; i++) {
        if (args->v[i].word)
            argv[n++] = args_util_dup(args->v[i].word);
        if (args->v[i].value)
            argv[n++] = args_util_dup(args->v[i].value);
    }
    argv[n] = NULL;
    return argv;
}

void args_strv_free(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

size_t args_count(const struct args *args)
{
    return args->n;
}

const struct arg *args_at(const struct args *args, size_t i)
{
    assert(i < args->n);
    return &args->v[i];
}

void args_insert(struct args *args, size_t at, const char *word, const char *value)
{
    assert(at <= args->n);
    arg_put(args, at, arg_make(word, value));
}

void args_append(struct args *args, const char *word, const char *value)
{
    args_insert(args, args->n, word, value);
}

void args_replace(struct args *args, size_t at, const char *word, const char *value)
{
    struct arg arg = arg_make(word, value);

    assert(at < args->n);
    arg_clear(&args->v[at]);
    args->v[at] = arg;
}

void args_remove(struct args *args, size_t at)
{
    assert(at < args->n);
    arg_clear(&args->v[at]);
    args->n--;
    memmove(&args->v[at], &args->v[at + 1], (args->n - at) * sizeof(*args->v));
}

/* ---- getters ---- */

const char *args_binary(const struct args *args)
{
    return args->binary;
}

static bool arg_named(const struct arg *arg, const char *name)
{
    return arg->name && strcmp(arg->name, name) == 0;
}

bool args_has(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->n; i++) {
        if (arg_named(&args->v[i], name))
            return true;
    }
    return false;
}

const char *args_value(const struct args *args, const char *name)
{
    for (size_t i = args->n; i > 0; i--) {
        if (arg_named(&args->v[i - 1], name))
            return args->v[i - 1].value;
    }
    return NULL;
}

const char *args_unknown(const struct args *args)
{
    for (size_t i = 0; i < args->n; i++) {
        if (args->v[i].word && !args->v[i].row)
            return args->v[i].word;
    }
    return NULL;
}

/* The last value that any of the two options gives the key; kept in *cache. */
/* -machine and -name may come several times; QEMU merges them, the last word stands. */
static const char *key_last(const struct args *args, char **cache, const char *a, const char *b,
                            const char *implied)
{
    for (size_t i = args->n; i > 0; i--) {
        const struct arg *arg = &args->v[i - 1];
        struct err err = ERR_INIT;
        struct qemuopts *opts;

        if (!arg_named(arg, a) && !arg_named(arg, b))
            continue;
        opts = qemuopts_parse(arg->value, implied, &err);
        err_clear(&err);
        if (!opts)
            continue;
        free(*cache);
        *cache = args_util_dup(qemuopts_get(opts, implied));
        qemuopts_free(opts);
        if (*cache)
            break;
    }
    return *cache;
}

const char *args_name(const struct args *args)
{
    return key_last(args, &((struct args *)args)->name, "name", "name", "guest");
}

const char *args_machine(const struct args *args)
{
    return key_last(args, &((struct args *)args)->machine, "machine", "M", "type");
}

void args_set_machine(struct args *args, const char *type)
{
    const char *given = args_machine(args);
    ARGS_AUTO_TEXT value = NULL;

    if (given && strcmp(given, type) == 0)
        return;
    value = args_util_format("type=%s", type);
    args_append(args, "-machine", value);
}
