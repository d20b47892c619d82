/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: our entries go into any list of QEMU's: nothing is read beyond its end, nothing
 * of QEMU's is lost, nothing is there twice by our doing.
 *
 * The first byte chooses query-commands or query-qmp-schema, the rest is the array.
 */
#include <string.h>

#include "qmp/schema.h"
#include "tests/fuzz/fuzz.h"

static const char *const names[] = { "snapshot-create", "a", "query-snapshots", NULL };

static size_t count_named(json_t *array, const char *name)
{
    json_t *entry;
    size_t i, count = 0;

    json_array_foreach(array, i, entry) {
        const char *other = json_string_value(json_object_get(entry, "name"));

        count += other && strcmp(other, name) == 0;
    }
    return count;
}

/* The names of ours that QEMU has once or not at all are there once. */
static void check_names(json_t *theirs, json_t *merged)
{
    for (size_t i = 0; names[i]; i++) {
        size_t before = count_named(theirs, names[i]);

        FUZZ_REQUIRE(count_named(merged, names[i]) == (before ? before : 1));
    }
}

static void check_commands(json_t *theirs, json_t *merged)
{
    size_t i;
    json_t *entry;

    FUZZ_REQUIRE(json_array_size(merged) >= json_array_size(theirs));
    json_array_foreach(theirs, i, entry)
        FUZZ_REQUIRE(json_equal(json_array_get(merged, i), entry));
    check_names(theirs, merged);
}

/* QEMU's entries in QEMU's order, without those that ours replaced. */
static void check_schema(json_t *theirs, json_t *merged)
{
    size_t i, at = 0;
    json_t *entry;

    json_array_foreach(theirs, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));

        if (json_equal(json_array_get(merged, at), entry))
            at++;
        else
            FUZZ_REQUIRE(name && (strncasecmp(name, "snapshot", 8) == 0 ||
                                  strcmp(name, "query-snapshots") == 0 ||
                                  strncmp(name, "[Snapshot", 9) == 0));
    }
    FUZZ_REQUIRE(count_named(merged, "snapshot-delete") == 1);
    FUZZ_REQUIRE(count_named(merged, "query-snapshots") == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *theirs, *merged;
    char *text, *out;
    size_t len;
    bool commands;

    if (size == 0)
        return 0;
    commands = data[0] & 1;
    text = fuzz_copy(data + 1, --size);
    out = commands ? schema_merge_commands((struct span){ text, size }, names, &len)
                   : schema_merge_qmp_schema((struct span){ text, size }, &len);
    if (out && !memchr(text, '\\', size)) {
        theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (theirs) {
            merged = fuzz_load(out, len);
            FUZZ_REQUIRE(json_is_array(theirs) && json_is_array(merged));
            (commands ? check_commands : check_schema)(theirs, merged);
            json_decref(merged);
            json_decref(theirs);
        }
    }
    free(out);
    free(text);
    return 0;
}
