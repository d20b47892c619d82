/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which snapshots a delete takes, over all trees of up to six snapshots and each place in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "policy/subtree.h"

#define MOST 6

static void name_of(int i, char out[16])
{
    snprintf(out, 16, "s%d", i);
}

/* new: n snapshots; parents[i] < i, -1: a root. */
static json_t *tree(const int *parents, int n, int current)
{
    json_t *state = state_new(), *snapshots = json_object_get(state, "snapshots");
    char name[16], parent[16];

    for (int i = 0; i < n; i++) {
        json_t *snapshot;

        name_of(i, name);
        snapshot = json_pack("{s:s}", "name", name);
        if (parents[i] >= 0) {
            name_of(parents[i], parent);
            json_object_set_new(snapshot, "parent", json_string(parent));
        }
        json_array_append_new(snapshots, snapshot);
    }
    if (current >= 0) {
        name_of(current, name);
        json_object_set_new(state, "current", json_string(name));
    }
    return state;
}

static bool below(const int *parents, int i, int top)
{
    while (i >= 0 && i != top)
        i = parents[i];
    return i == top;
}

static int place(const json_t *names, int i)
{
    char name[16];

    name_of(i, name);
    for (size_t at = 0; at < json_array_size(names); at++)
        if (strcmp(json_string_value(json_array_get(names, at)), name) == 0)
            return (int)at;
    return -1;
}

/* One delete in one tree: right names, children first; or refused, because the guest is in there. */
static void check(const int *parents, int n, int current, int top, const char *children)
{
    json_t *state = tree(parents, n, current), *names;
    bool keep = strcmp(children, "keep") == 0, only = strcmp(children, "only") == 0;
    bool refused = !keep && current >= 0 && below(parents, current, top) &&
                   !(only && current == top);
    struct err err = ERR_INIT;
    char name[16];

    name_of(top, name);
    names = subtree_names(state, name, children, &err);
    assert_int_equal(names == NULL, refused);
    if (refused) {
        assert_string_equal(err.reason, REASON_CURRENT_BRANCH);
        err_clear(&err);
    }
    for (int i = 0; names && i < n; i++) {
        bool wanted = keep ? i == top : below(parents, i, top) && !(only && i == top);

        assert_int_equal(place(names, i) >= 0, wanted);
        if (wanted && parents[i] >= 0 && place(names, parents[i]) >= 0)
            assert_true(place(names, i) < place(names, parents[i]));
    }
    json_decref(names);
    json_decref(state);
}

static unsigned check_all_of(const int *parents, int n)
{
    static const char *const modes[] = { "keep", "include", "only" };
    unsigned checks = 0;

    for (int current = -1; current < n; current++)
        for (int top = 0; top < n; top++)
            for (int mode = 0; mode < 3; mode++, checks++)
                check(parents, n, current, top, modes[mode]);
    return checks;
}

static void every_delete_in_every_tree_takes_what_it_says(void **state)
{
    unsigned trees = 0, checks = 0;

    (void)state;
    for (int n = 1; n <= MOST; n++) {
        int parents[MOST];

        /* Counts through all functions i -> parent in -1 .. i - 1. */
        for (int i = 0; i < n; i++)
            parents[i] = -1;
        for (int i = 0; i < n;) {
            trees++;
            checks += check_all_of(parents, n);
            for (i = 0; i < n && ++parents[i] == i; i++)
                parents[i] = -1;
        }
    }
    assert_int_equal(trees, 1 + 2 + 6 + 24 + 120 + 720);
    print_message("%u trees, %u deletes\n", trees, checks);
}

static void an_unknown_name_is_refused(void **state)
{
    const int parents[] = { -1 };
    json_t *one = tree(parents, 1, 0);
    struct err err = ERR_INIT;

    (void)state;
    assert_null(subtree_names(one, "s7", "include", &err));
    assert_string_equal(err.reason, REASON_UNKNOWN_SNAPSHOT);
    err_clear(&err);
    json_decref(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_delete_in_every_tree_takes_what_it_says),
        cmocka_unit_test(an_unknown_name_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
