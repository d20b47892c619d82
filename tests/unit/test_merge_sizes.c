/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * merge: disks that were made smaller, and larger again.  What was cut off must not show.
 *
 * A row is a chain base - lower - upper - active with the sizes of its layers, of which lower (or the
 * base) is to go; what is wanted is by what QEMU does: its commit grows the target and shrinks none, its
 * stream does not move the zeros behind the end of what it moves.
 */
#include "tests/unit/json_text.h"

#include "policy/merge.h"
#include "policy/state.h"

struct row {
    int base, lower, upper;
    const char *goes;                       /* the layer that nobody names any more */
    enum merge_direction want;
    const char *is;                         /* "commit", "stream" or "kept" */
};

static const struct row rows[] = {
    { 8, 8, 8, "L2", MERGE_AUTO, "commit" },
    { 8, 8, 8, "L2", MERGE_STREAM, "stream" },
    { 8, 16, 16, "L2", MERGE_AUTO, "commit" },
    { 8, 16, 24, "L2", MERGE_STREAM, "stream" },    /* grown all along */
    { 8, 16, 8, "L2", MERGE_AUTO, "stream" },       /* shrunk: not into the larger one */
    { 8, 16, 8, "L2", MERGE_COMMIT, "kept" },
    { 16, 8, 8, "L2", MERGE_STREAM, "stream" },     /* nothing behind the end is read */
    { 16, 8, 16, "L2", MERGE_AUTO, "commit" },      /* shrunk and grown: zeros, not the base */
    { 16, 8, 16, "L2", MERGE_STREAM, "kept" },
    { 16, 8, 12, "L2", MERGE_STREAM, "kept" },
    { 8, 8, 8, "L1", MERGE_AUTO, "commit" },
    { 8, 12, 12, "L1", MERGE_AUTO, "commit" },
    { 12, 8, 8, "L1", MERGE_AUTO, "kept" },         /* the first image neither grows small nor goes */
    { 12, 8, 12, "L1", MERGE_AUTO, "kept" },
};

/* Names all layers but the one that goes. */
static json_t *record_of(const struct row *row)
{
    static const char *const ids[] = { "L1", "L2", "L3" };
    const int sizes[] = { row->base, row->lower, row->upper, row->upper };
    json_t *record = state_new();

    for (int i = 0; i < 4; i++)
        state_layer_add(record, json_pack("{s:s, s:s, s:s, s:s?, s:i}", "path", "/i", "real", "/i",
                                          "format", "qcow2", "parent", i ? ids[i - 1] : NULL, "size",
                                          sizes[i]));
    json_object_set_new(state_layer(record, "L1"), "base", json_true());
    json_object_set_new(json_object_get(record, "disks"), "drive:d0",
                        json_pack("{s:s, s:s, s:s}", "device", "d0", "active", "L4", "base", "L1"));
    for (int i = 0; i < 3; i++)
        if (strcmp(ids[i], row->goes) != 0)
            json_array_append_new(json_object_get(record, "snapshots"),
                                  json_pack("{s:s, s:s, s:[], s:{s:s}}", "name", ids[i], "run-state",
                                            "running", "args", "disks", "drive:d0", ids[i]));
    return record;
}

static void what_was_cut_off_stays_away(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *record = record_of(&rows[i]), *own = json_pack("{s:b}", rows[i].goes, 1);
        const struct merge_search search = { .own = own, .direction = rows[i].want };
        const char *is = "kept", *refused = merge_refused(record, &search);
        struct merge merge;

        if (merge_find(record, "drive:d0", &search, &merge)) {
            is = merge.direction == MERGE_COMMIT ? "commit" : "stream";
            merge_clear(&merge);
        }
        if (strcmp(is, rows[i].is) != 0)
            fail_msg("row %zu: %s, not %s", i, is, rows[i].is);
        /* Only a direction that was asked for is worth a refusal. */
        if (strcmp(is, "kept") == 0 && rows[i].want != MERGE_AUTO)
            assert_string_equal(refused, rows[i].goes);
        else
            assert_null(refused);
        json_decref(record);
        json_decref(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_cut_off_stays_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
