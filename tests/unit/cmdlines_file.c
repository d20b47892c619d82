/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmdlines_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/args_util.h"
#include "qmp/alloc.h"

/* Appends text to *field, after sep when there is something before it. */
static void field_add(char **field, const char *sep, const char *text)
{
    char *more = args_util_format("%s%s%s", *field ? *field : "", *field ? sep : "", text);

    free(*field);
    *field = more;
}

static char **field_named(struct cmdline *entry, const char *word)
{
    struct { const char *word; char **field; } fields[] = {
        { "from", &entry->from }, { "line", &entry->line }, { "kind", &entry->kind },
        { "reason", &entry->reason }, { "argument", &entry->argument }, { "says", &entry->says },
        { "why", &entry->why }, { "start", &entry->start },
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].word, word) == 0)
            return fields[i].field;
    }
    return NULL;
}

/* A line of an entry.  *last: the field that a continuation goes to. */
static bool entry_line(struct cmdline *entry, char *text, char ***last)
{
    static const char *const outcome[] = { "-", "+", "late", NULL };
    size_t word = strcspn(text, " ");
    size_t gap = strspn(text + word, " ");
    ARGS_AUTO_TEXT key = args_util_ndup(text, word);

    if (word == 0) {
        if (*last)
            field_add(*last, " ", text + gap);
        return *last != NULL;
    }
    if (args_util_listed(key, outcome)) {
        ARGS_AUTO_TEXT plain = args_util_format("%s %s", key, text + word + gap);

        *last = &entry->outcome;
        field_add(*last, "\n", plain);
        return true;
    }
    *last = field_named(entry, key);
    if (!*last || **last)
        return false;
    field_add(*last, "", text + word + gap);
    return true;
}

static struct cmdline *entry_new(struct cmdlines *all, char *text)
{
    struct cmdline *entry;

    text[strcspn(text, "]")] = '\0';
    all->v = args_util_grow(all->v, all->n + 1, sizeof(*all->v));
    entry = &all->v[all->n++];
    *entry = (struct cmdline){ .name = args_util_dup(text + 1) };
    return entry;
}

void cmdlines_load(struct cmdlines *all, const char *name)
{
    const char *srcdir = getenv("srcdir");
    ARGS_AUTO_TEXT path = args_util_format("%s/tests/data/cmdlines/%s.txt", srcdir ? srcdir : ".",
                                           name);
    FILE *file = fopen(path, "r");
    struct cmdline *entry = NULL;
    char **last = NULL;
    char *text = NULL;
    size_t room = 0;

    if (!file && errno == ENOMEM)
        alloc_fail();
    if (!file)
        fail_msg("%s cannot be opened", path);
    for (unsigned number = 1; getline(&text, &room, file) >= 0; number++) {
        text[strcspn(text, "\n")] = '\0';
        if (*text == '\0' || *text == '#')
            continue;
        if (*text == '[')
            entry = entry_new(all, text), last = NULL;
        else if (!entry || !entry_line(entry, text, &last))
            fail_msg("%s:%u: not understood: %s", path, number, text);
    }
    if (!feof(file))
        alloc_fail(); /* getline() had no room */
    free(text);
    fclose(file);
}

void cmdlines_clear(struct cmdlines *all)
{
    for (size_t i = 0; i < all->n; i++) {
        struct cmdline *e = &all->v[i];
        char *all_text[] = { e->name, e->from, e->line, e->kind, e->reason, e->argument, e->says,
                             e->why, e->start, e->outcome };

        for (size_t k = 0; k < sizeof(all_text) / sizeof(all_text[0]); k++)
            free(all_text[k]);
    }
    free(all->v);
    *all = (struct cmdlines){ .v = NULL };
}

/* new: one word; *text is moved behind it. */
static char *word_next(const char **text)
{
    char *word = args_util_grow(NULL, strlen(*text) + 1, 1);
    size_t n = 0;

    while (**text && **text != ' ') {
        char quote = **text;

        if (quote != '\'' && quote != '"') {
            word[n++] = *(*text)++;
            continue;
        }
        for (++*text; **text && **text != quote; ++*text)
            word[n++] = **text;
        assert_int_equal(**text, quote);
        ++*text;
    }
    word[n] = '\0';
    return word;
}

char **cmdlines_split(const char *line, int *argc)
{
    char **argv = args_util_grow(NULL, 1, sizeof(*argv));

    *argc = 0;
    while (*(line += strspn(line, " "))) {
        argv = args_util_grow(argv, (size_t)*argc + 2, sizeof(*argv));
        argv[(*argc)++] = word_next(&line);
    }
    argv[*argc] = NULL;
    return argv;
}
