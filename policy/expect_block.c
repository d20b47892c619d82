/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/expect_block.h"

#include <stdlib.h>

#include "policy/expect_member.h"
#include "policy/graph.h"
#include "qmp/alloc.h"

static const json_t *entry_find(const json_t *list, const char *key, const char *name)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry) {
        const char *text = expect_member_text(entry, key);

        if (text && !strcmp(text, name))
            return entry;
    }
    return NULL;
}

/* One optional member of the expectation against the node's. */
static bool node_member_equal(const json_t *expect, const char *key, const json_t *node,
                              const char *node_key, struct err *why)
{
    const json_t *want = json_object_get(expect, key), *have = json_object_get(node, node_key);

    if (!want || (have && json_equal(want, have)))
        return true;
    if (!have) {
        expect_member_bad_answer(why, node_key);
        return false;
    }
    err_set(why, REASON_QEMU_FAILED, "The block node \"%s\" has another \"%s\" than expected",
            expect_member_text(expect, "name"), key);
    err_name(why, "node", expect_member_text(expect, "name"));
    err_name(why, "expected", json_string_value(want));
    err_name(why, "found", json_string_value(have));
    return false;
}

enum expect_verdict expect_block_node(const json_t *expect, const json_t *answer, struct err *why)
{
    const char *name = expect_member_text(expect, "name");
    const json_t *node;
    bool present;

    if (!expect_member_required(expect, "name", JSON_STRING, why) ||
        !expect_member_required(expect, "present", JSON_TRUE, why) ||
        !expect_member_optional(expect, "driver", JSON_STRING, why) ||
        !expect_member_optional(expect, "file", JSON_STRING, why) ||
        !expect_member_optional(expect, "read-only", JSON_TRUE, why))
        return EXPECT_NO;
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of block nodes");
    node = entry_find(answer, "node-name", name);
    present = json_is_true(json_object_get(expect, "present"));
    if (present != (node != NULL)) {
        err_set(why, REASON_QEMU_FAILED, "The block node \"%s\" %s", name,
                node ? "is still there" : "does not exist");
        err_name(why, "node", name);
        return EXPECT_NO;
    }
    if (!node)
        return EXPECT_YES;
    return node_member_equal(expect, "driver", node, "drv", why) &&
           node_member_equal(expect, "read-only", node, "ro", why) &&
           node_member_equal(expect, "file", node, "file", why) ? EXPECT_YES : EXPECT_NO;
}

/* Which disk is meant: by device name, by qdev, or by both.  "" counts as no name. */
static bool disk_members_check(const json_t *expect, struct err *why)
{
    const char *device = expect_member_text(expect, "device");
    const char *qdev = expect_member_text(expect, "qdev");

    if (!expect_member_optional(expect, "device", JSON_STRING, why) ||
        !expect_member_optional(expect, "qdev", JSON_STRING, why))
        return false;
    if ((device && device[0]) || (qdev && qdev[0]))
        return true;
    expect_member_bad_plan(why, "device");
    return false;
}

static bool disk_is_meant(const json_t *expect, const char *device, const char *qdev)
{
    const char *want_device = expect_member_text(expect, "device");
    const char *want_qdev = expect_member_text(expect, "qdev");

    if (want_device && want_device[0] && (!device || strcmp(device, want_device)))
        return false;
    if (want_qdev && want_qdev[0] && (!qdev || !graph_qdev_match(qdev, want_qdev)))
        return false;
    return true;
}

/* What to call the disk in a sentence. */
static const char *disk_label(const json_t *expect)
{
    const char *device = expect_member_text(expect, "device");

    return device && device[0] ? device : expect_member_text(expect, "qdev");
}

static enum expect_verdict disk_missing(const json_t *expect, struct err *why, size_t matches)
{
    err_set(why, REASON_DISK_GONE, matches ? "More than one disk is \"%s\""
            : "There is no disk \"%s\"", disk_label(expect));
    err_name(why, "disk", disk_label(expect));
    return EXPECT_NO;
}

enum expect_verdict expect_block_disk(const json_t *expect, const json_t *answer, struct err *why)
{
    const json_t *entry, *found = NULL;
    const char *node;
    size_t i, matches = 0;

    if (!disk_members_check(expect, why) ||
        !expect_member_required(expect, "node", JSON_STRING, why))
        return EXPECT_NO;
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of disks");
    json_array_foreach(answer, i, entry) {
        if (disk_is_meant(expect, expect_member_text(entry, "device"),
                          expect_member_text(entry, "qdev"))) {
            found = entry;
            matches++;
        }
    }
    if (matches != 1)
        return disk_missing(expect, why, matches);
    node = expect_member_text(json_object_get(found, "inserted"), "node-name");
    if (node && !strcmp(node, expect_member_text(expect, "node")))
        return EXPECT_YES;
    err_set(why, REASON_QEMU_FAILED, "The disk \"%s\" stands on \"%s\", not on \"%s\"",
            disk_label(expect), node ? node : "nothing", expect_member_text(expect, "node"));
    err_name(why, "disk", disk_label(expect));
    err_name(why, "node", expect_member_text(expect, "node"));
    return EXPECT_NO;
}

/* The whole plan is checked before any chain is compared, so that a bad plan never says YES. */
static bool chain_plan_check(const json_t *expect, struct err *why)
{
    const json_t *disk, *link;
    size_t i, k;

    if (!expect_member_required(expect, "disks", JSON_ARRAY, why) ||
        !expect_member_optional(expect, "only", JSON_TRUE, why))
        return false;
    json_array_foreach(json_object_get(expect, "disks"), i, disk) {
        if (!disk_members_check(disk, why) ||
            !expect_member_required(disk, "chain", JSON_ARRAY, why))
            return false;
        json_array_foreach(json_object_get(disk, "chain"), k, link) {
            if (!expect_member_required(link, "file", JSON_STRING, why) ||
                !expect_member_optional(link, "also", JSON_ARRAY, why) ||
                !expect_member_required(link, "driver", JSON_STRING, why) ||
                !expect_member_optional(link, "node", JSON_STRING, why))
                return false;
        }
    }
    return true;
}

/* Drops what says nothing: "//", "/./", "NAME/../". */
static char *path_plain(const char *path)
{
    char *plain = alloc_bytes(strlen(path) + 2), *end = plain;

    while (*path) {
        size_t n = strcspn(path, "/");
        char *slash;

        if (n == 2 && !strncmp(path, "..", 2) && end > plain + 1 && end[-1] == '/' &&
            strcmp(end - 2, "./")) {
            end[-1] = '\0';
            slash = strrchr(plain, '/');
            end = slash ? slash + 1 : plain;
        } else if (n > 0 && !(n == 1 && *path == '.')) {
            memcpy(end, path, n);
            end += n;
            if (path[n])
                *end++ = '/';
        } else if (n == 0 && end == plain) {
            *end++ = '/';
        }
        *end = '\0';
        path += n + (path[n] == '/');
    }
    return plain;
}

static bool path_equal(const char *path, const char *other)
{
    char *plain, *other_plain;
    bool equal = !strcmp(path, other);

    if (equal)
        return true;
    plain = path_plain(path);
    other_plain = path_plain(other);
    equal = !strcmp(plain, other_plain);
    free(plain);
    free(other_plain);
    return equal;
}

static bool link_file_equal(const json_t *want, const char *file)
{
    const json_t *also = json_object_get(want, "also"), *name;
    size_t i;

    if (path_equal(expect_member_text(want, "file"), file))
        return true;
    json_array_foreach((json_t *)also, i, name)
        if (json_is_string(name) && path_equal(json_string_value(name), file))
            return true;
    return false;
}

static bool link_equal(const json_t *want, const struct graph_link *link)
{
    const char *node = expect_member_text(want, "node");

    return link_file_equal(want, link->file) &&
           !strcmp(expect_member_text(want, "driver"), link->image->driver) &&
           (!node || !strcmp(node, link->image->name));
}

static bool chain_equal(const json_t *want, const struct graph_disk *disk, struct err *why)
{
    const json_t *chain = json_object_get(want, "chain");
    size_t count = json_array_size(chain), i;

    for (i = 0; i < count && i < disk->n_chain; i++) {
        if (!link_equal(json_array_get(chain, i), &disk->chain[i]))
            break;
    }
    if (i == count && i == disk->n_chain)
        return true;
    err_set(why, REASON_CHAIN_MISMATCH,
            "The backing chain of the disk \"%s\" is not as expected at image %zu: \"%s\", "
            "not \"%s\"", disk_label(want), i, i < disk->n_chain ? disk->chain[i].file : "(none)",
            i < count ? expect_member_text(json_array_get(chain, i), "file") : "(none)");
    err_name(why, "disk", disk_label(want));
    return false;
}

/* used: one flag per disk of the graph. */
static bool chain_disk_check(const json_t *want, const struct graph *graph, bool *used,
                             struct err *why)
{
    size_t matches = 0, at = 0;

    for (size_t i = 0; i < graph->n_disks; i++) {
        if (disk_is_meant(want, graph->disks[i].device, graph->disks[i].qdev)) {
            matches++;
            at = i;
        }
    }
    if (matches != 1) {
        disk_missing(want, why, matches);
        return false;
    }
    if (used[at]) {
        err_set(why, REASON_BAD_PLAN, "The plan expects two chains of the disk \"%s\"",
                disk_label(want));
        return false;
    }
    used[at] = true;
    return chain_equal(want, &graph->disks[at], why);
}

static bool chain_only_check(const struct graph *graph, const bool *used, struct err *why)
{
    for (size_t i = 0; i < graph->n_disks; i++) {
        const struct graph_disk *disk = &graph->disks[i];
        const char *name = disk->device[0] || !disk->qdev ? disk->device : disk->qdev;

        if (!disk->writable || used[i])
            continue;
        err_set(why, REASON_CHAIN_MISMATCH, "There is an unexpected writable disk \"%s\"", name);
        err_name(why, "disk", name);
        return false;
    }
    return true;
}

enum expect_verdict expect_block_chain(const json_t *expect, const json_t *answer,
                                       struct err *why)
{
    const json_t *want;
    struct graph *graph;
    bool *used, ok = true;
    size_t i;

    if (!chain_plan_check(expect, why))
        return EXPECT_NO;
    graph = graph_new(json_object_get(answer, "nodes"), json_object_get(answer, "blocks"),
                      json_object_get(answer, "graph"), why);
    if (!graph)
        return EXPECT_NO;
    used = alloc_zeroed(graph->n_disks + 1, sizeof(*used));
    for (i = 0; ok && (want = json_array_get(json_object_get(expect, "disks"), i)); i++)
        ok = chain_disk_check(want, graph, used, why);
    if (ok && json_is_true(json_object_get(expect, "only")))
        ok = chain_only_check(graph, used, why);
    free(used);
    graph_free(graph);
    return ok ? EXPECT_YES : EXPECT_NO;
}
