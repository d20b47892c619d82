/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of the second process, for command lines as they are found in the world: see
 * cmdlines_file.h.  Every writable disk moves onto one new overlay.
 *
 * CMDLINES_PRINT=WORD prints what comes out for the entries with WORD in their name, in the words
 * of the corpus.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args_words.h"
#include "cmdlines_file.h"
#include "policy/args_disks.h"
#include "policy/args_rewrite.h"

#define DISKS 32
#define ASIDE "/run/aside/"

static const char *const files[] = { "ci", "documents", "managers", "firmware", "disks", "network",
                                     "characters", "process", NULL };

/* One line, taken through everything that happens to it. */
struct trip {
    const struct cmdline *entry;
    struct args *args;          /* as the proxy holds them */
    struct args_disks disks;
    char **argv;                /* of the second process */
    json_t *late;
    struct err err;
    const char *kind;
};

static void trip_clear(struct trip *trip)
{
    args_disks_clear(&trip->disks);
    args_free(trip->args);
    args_strv_free(trip->argv);
    json_decref(trip->late);
    err_clear(&trip->err);
}

/* What happens at start and at the first snapshot. */
static bool trip_take(struct trip *trip)
{
    struct args_monitors monitors = ARGS_MONITORS_INIT;
    struct args_daemonize background;
    int argc;
    char **argv = cmdlines_split(trip->entry->line, &argc);
    bool ok;

    trip->args = args_parse(argc, argv, &trip->err);
    args_strv_free(argv);
    ok = trip->args && args_take_monitors(trip->args, &monitors, &trip->err);
    args_monitors_clear(&monitors);
    if (!ok)
        return false;
    args_take_daemonize(trip->args, &background);
    free(background.pidfile);
    args_add_default_monitor(trip->args);
    return args_disks_find(trip->args, &trip->disks, &trip->err) &&
           args_check_snapshots(trip->args, &trip->err);
}

static bool moves(const struct args_disk *disk)
{
    return !disk->read_only && disk->path;
}

static bool trip_rewrite(const struct trip *trip, bool late, char ***argv, json_t **commands,
                         struct err *err)
{
    static const char *const tops[] = { "/snap/0.qcow2", "/snap/1.qcow2", "/snap/2.qcow2",
                                        "/snap/3.qcow2", "/snap/4.qcow2", "/snap/5.qcow2" };
    static const char *const names[] = { "top0", "top1", "top2", "top3", "top4", "top5" };
    struct disk_rewrite disks[DISKS];
    struct layer_arg layers[DISKS][2];
    struct args_rewrite rw = { .disks = disks, .paused = true, .incoming = true, .late = late,
                               .late_prefix = ASIDE "late" };

    for (size_t i = 0; i < trip->disks.n; i++) {
        const struct args_disk *disk = &trip->disks.v[i];
        size_t n = rw.n_disks;

        if (!moves(disk))
            continue;
        assert_true(n < sizeof(tops) / sizeof(tops[0]));
        layers[n][0] = (struct layer_arg){ tops[n], "qcow2", names[n] };
        layers[n][1] = (struct layer_arg){ disk->path, disk->format ? disk->format : "raw",
                                           disk->node_name };
        disks[n] = (struct disk_rewrite){ disk->key, layers[n], 2, false };
        rw.n_disks++;
    }
    return args_rewrite(trip->args, &rw, argv, commands, err);
}

static void trip_run(struct trip *trip)
{
    if (!trip_take(trip)) {
        trip->kind = "refused";
    } else if (trip_rewrite(trip, true, &trip->argv, &trip->late, &trip->err)) {
        trip->kind = "respawn";
    } else if (strcmp(trip->err.reason, "needs-replace") == 0) {
        struct err err = ERR_INIT;

        trip->kind = "replace";
        if (!trip_rewrite(trip, false, &trip->argv, &trip->late, &err))
            fail_msg("%s: after replacing: %s", trip->entry->name, err.desc);
    } else {
        trip->kind = "refused";
    }
}

/* ---- what became of it, in the words of the corpus ---- */

/* new: one string an option, "-drive file=x"; args_strv_free() it. */
static char **options_of(char *const *argv, size_t *n)
{
    struct err err = ERR_INIT;
    int argc = 0;
    struct args *args;
    char **out;

    while (argv[argc])
        argc++;
    args = args_parse(argc, argv, &err);
    assert_non_null(args);
    *n = args_count(args);
    out = args_util_grow(NULL, *n + 1, sizeof(*out));
    for (size_t i = 0; i < *n; i++) {
        const struct arg *arg = args_at(args, i);

        out[i] = args_util_format("%s%s%s", arg->word ? arg->word : "",
                                  arg->word && arg->value ? " " : "", arg->value ? arg->value : "");
    }
    out[*n] = NULL;
    args_free(args);
    return out;
}

#define OPTIONS 128

static void add_line(char **text, const char *mark, const char *what)
{
    char *more = args_util_format("%s%s%s %s", *text, **text ? "\n" : "", mark, what);

    free(*text);
    *text = more;
}

/* new: the longest row of options that both have stays, the others are - and +. */
static char *options_diff(char *const *a, size_t n, char *const *b, size_t m)
{
    static size_t same[OPTIONS + 1][OPTIONS + 1];
    char *text = args_util_dup("");
    size_t i = 0, k = 0;

    assert_true(n <= OPTIONS && m <= OPTIONS);
    memset(same, 0, sizeof(same));
    for (i = n; i-- > 0;) {
        for (k = m; k-- > 0;) {
            size_t skip = same[i + 1][k] > same[i][k + 1] ? same[i + 1][k] : same[i][k + 1];

            same[i][k] = strcmp(a[i], b[k]) == 0 ? same[i + 1][k + 1] + 1 : skip;
        }
    }
    for (i = k = 0; i < n || k < m;) {
        if (i < n && k < m && strcmp(a[i], b[k]) == 0)
            i++, k++;
        else if (i < n && (k == m || same[i + 1][k] >= same[i][k + 1]))
            add_line(&text, "-", a[i++]);
        else
            add_line(&text, "+", b[k++]);
    }
    return text;
}

static char *trip_outcome(const struct trip *trip)
{
    char **before = args_render(trip->args);
    size_t n, m;
    char **a = options_of(before, &n);
    char **b = options_of(trip->argv, &m);
    char *text = options_diff(a, n, b, m);

    for (size_t i = 0; strcmp(trip->kind, "respawn") == 0 && i < json_array_size(trip->late); i++) {
        char *command = json_dumps(json_array_get(trip->late, i), JSON_COMPACT);

        add_line(&text, "late", command);
        free(command);
    }
    args_strv_free(a);
    args_strv_free(b);
    args_strv_free(before);
    return text;
}

/* ---- what holds for every line ---- */

static size_t count_word(char *const *argv, const char *word)
{
    size_t n = 0;

    for (; *argv; argv++)
        n += strcmp(*argv, word) == 0 || (**argv == '-' && strcmp(*argv + 1, word) == 0);
    return n;
}

static void assert_waits(const struct trip *trip)
{
    assert_int_equal(count_word(trip->argv, "-S"), 1);
    assert_int_equal(count_word(trip->argv, "-incoming"), 1);
    assert_int_equal(count_word(trip->argv, "defer"), 1);
    assert_int_equal(count_word(trip->argv, "-daemonize"), 0);
    assert_int_equal(count_word(trip->argv, "-pidfile"), 0);
    assert_int_equal(count_word(trip->argv, "-qmp"), 0);
}

/* An image that was written to is now below an overlay, and is written by nobody. */
static void assert_disks_once(const struct trip *trip)
{
    struct args_disks now = ARGS_DISKS_INIT;
    struct err err = ERR_INIT;
    int argc = 0;
    struct args *args;

    while (trip->argv[argc])
        argc++;
    args = args_parse(argc, trip->argv, &err);
    assert_non_null(args);
    assert_true(args_disks_find(args, &now, &err));
    assert_int_equal(now.n, trip->disks.n);
    for (size_t i = 0; i < now.n; i++) {
        for (size_t k = 0; moves(&now.v[i]) && k < now.n; k++) {
            if (k != i && moves(&now.v[k]))
                assert_string_not_equal(now.v[i].path, now.v[k].path);
            if (moves(&trip->disks.v[k]))
                assert_string_not_equal(now.v[i].path, trip->disks.v[k].path);
        }
    }
    args_disks_clear(&now);
    args_free(args);
}

/* Nothing that is bound later stands in the second process's own line. */
static void assert_not_there(const struct trip *trip, const json_t *value)
{
    const char *text = json_string_value(value);
    const char *key;
    json_t *member;
    size_t i;

    json_object_foreach((json_t *)value, key, member)
        assert_not_there(trip, member);
    json_array_foreach(value, i, member)
        assert_not_there(trip, member);
    if (!text || !strpbrk(text, "/:"))
        return;
    text = strrchr(text, ' ') ? strrchr(text, ' ') + 1 : text;
    for (i = 0; trip->argv[i]; i++) {
        if (strstr(trip->argv[i], text) && strncmp(text, ASIDE, strlen(ASIDE)) != 0)
            fail_msg("%s: %s is bound later and stands in %s", trip->entry->name, text,
                     trip->argv[i]);
    }
}

static void assert_same_again(const struct trip *trip, bool late)
{
    struct err err = ERR_INIT;
    char **argv;
    json_t *commands;
    char *one, *two;

    assert_true(trip_rewrite(trip, late, &argv, &commands, &err));
    one = words_join(argv);
    two = words_join(trip->argv);
    assert_string_equal(one, two);
    assert_true(json_equal(commands, trip->late));
    free(one);
    free(two);
    args_strv_free(argv);
    json_decref(commands);
}

/* ---- the corpus ---- */

static const char *or_none(const char *text)
{
    return text ? text : "";
}

static void trip_print(const struct trip *trip, const char *outcome)
{
    const char *argument = json_string_value(json_object_get(trip->err.data, "argument"));

    printf("[%s]\nkind   %s\n%s%s", trip->entry->name, trip->kind, outcome, *outcome ? "\n" : "");
    if (trip->err.set)
        printf("reason %s\nargument %s\nsays   %s\n", or_none(trip->err.reason), or_none(argument),
               trip->err.desc);
}

static bool named(const struct trip *trip)
{
    const char *key;
    json_t *member;

    json_object_foreach(trip->err.data, key, member) {
        if (args_util_same(json_string_value(member), trip->entry->argument))
            return true;
    }
    return false;
}

static bool trip_fits(const struct trip *trip, const char *outcome)
{
    const struct cmdline *entry = trip->entry;

    if (!args_util_same(entry->kind, trip->kind) || !entry->from || !entry->why)
        return false;
    if (strcmp(outcome, or_none(entry->outcome)) != 0)
        return false;
    if (!trip->err.set)
        return !entry->reason && !entry->argument && !entry->says;
    return args_util_same(entry->reason, trip->err.reason) && entry->says &&
           strstr(trip->err.desc, entry->says) && named(trip);
}

/* Whether it came out as the corpus says. */
static bool entry_holds(const struct cmdline *entry)
{
    struct trip trip = { .entry = entry, .err = ERR_INIT };
    const char *print = getenv("CMDLINES_PRINT");
    char *outcome;
    bool fits;

    trip_run(&trip);
    outcome = trip.argv ? trip_outcome(&trip) : args_util_dup("");
    fits = trip_fits(&trip, outcome);
    if (!fits || (print && strstr(entry->name, print)))
        trip_print(&trip, outcome);
    if (trip.argv) {
        assert_waits(&trip);
        assert_disks_once(&trip);
        assert_not_there(&trip, trip.late);
        assert_same_again(&trip, strcmp(trip.kind, "respawn") == 0);
    }
    free(outcome);
    trip_clear(&trip);
    return fits;
}

static void command_lines_come_out_as_the_corpus_says(void **state)
{
    struct cmdlines all = { .v = NULL };
    size_t respawn = 0, replace = 0, wrong = 0;

    for (size_t i = 0; files[i]; i++)
        cmdlines_load(&all, files[i]);
    for (size_t i = 0; i < all.n; i++) {
        const char *kind = or_none(all.v[i].kind);

        wrong += !entry_holds(&all.v[i]);
        respawn += strcmp(kind, "respawn") == 0;
        replace += strcmp(kind, "replace") == 0;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(all.v[i].name, all.v[k].name);
    }
    print_message("# %zu command lines: %zu respawn, %zu replace, %zu refused\n", all.n, respawn,
                  replace, all.n - respawn - replace);
    assert_int_equal(wrong, 0);
    assert_true(all.n >= 60);
    cmdlines_clear(&all);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_come_out_as_the_corpus_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
