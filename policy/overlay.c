/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/overlay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* An empty qcow2 image has a header, a refcount table and block and an L1 table of 8 bytes for each
 * 512 MiB: this is enough for 64 TiB. */
#define OVERLAY_ROOM (2 << 20)

/* The VM's name may hold anything; in a file name only the portable characters are kept. */
static void overlay_vm_word(const char *vm, char *out, size_t size)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = 0;

    for (; *vm && n + 1 < size && n < 32; vm++)
        out[n++] = strchr(plain, *vm) ? *vm : '_';
    out[n] = '\0';
}

/* new: "STEM.VM-N.qcow2" in the folder of `below`; the stem is that of the image that the command
 * line names, so that a long chain does not make long names. */
static char *overlay_path(const struct world *world, const json_t *base, const char *below,
                          json_int_t number)
{
    const char *named = state_str(base, "path");
    const char *slash = strrchr(named, '/'), *below_slash = strrchr(below, '/');
    const char *file = slash ? slash + 1 : named;
    const char *dot = strrchr(file, '.');
    int stem = dot && dot != file ? (int)(dot - file) : (int)strlen(file);
    int folder = below_slash ? (int)(below_slash + 1 - below) : 0;
    char vm[40];

    overlay_vm_word(world->vm, vm, sizeof(vm));
    return alloc_print("%.*s%.*s.%s-%lld.qcow2", folder, below, stem, file, vm, (long long)number);
}

bool overlay_check_room(const struct world *world, const char *path, json_int_t bytes,
                        struct err *err)
{
    char *folder = world_dirname(path);
    const json_t *room = json_object_get(world->rooms, folder);
    json_int_t left = json_integer_value(json_object_get(room, "free"));
    bool ok = false;

    if (!json_is_true(json_object_get(room, "writable"))) {
        err_set(err, REASON_FILE_UNUSABLE, "Nothing can be written in the folder '%s'", folder);
        err_name(err, "file", folder);
    } else if (left < bytes) {
        err_set(err, REASON_NO_SPACE, "The folder '%s' has %" JSON_INTEGER_FORMAT " KiB left, %"
                JSON_INTEGER_FORMAT " KiB may be needed", folder, left >> 10, bytes >> 10);
        err_name(err, "file", folder);
    } else {
        ok = true;
    }
    free(folder);
    return ok;
}

const char *overlay_backing(const json_t *below)
{
    const char *path = state_str(below, "path");

    return path[0] == '/' || !strchr(path, '/') ? path : state_str(below, "real");
}

const char *overlay_header(const json_t *layer, const json_t *below)
{
    const char *given = state_str(layer, "backing");

    return given ? given : overlay_backing(below);
}

/* "nbd://...", "json:{...}": a colon before the first slash (block.c, path_has_protocol). */
static bool overlay_has_protocol(const char *path)
{
    return path[strcspn(path, ":/")] == ':';
}

char *overlay_resolve(const char *opened, const char *header)
{
    const char *slash = strrchr(opened, '/');
    int folder = slash && header[0] != '/' ? (int)(slash + 1 - opened) : 0;

    if (!header[0] || overlay_has_protocol(header) || overlay_has_protocol(opened))
        return NULL;
    return alloc_print("%.*s%s", folder, opened, header);
}

/* The lowest layer of a chain that is not foreign: the image that the command line names. */
static const json_t *overlay_base(const json_t *state, const char *id)
{
    json_t *chain = state_chain(state, id, false);
    size_t n = json_array_size(chain);
    const char *base = n ? json_string_value(json_array_get(chain, n - 1)) : id;
    const json_t *layer = state_layer(state, base);

    json_decref(chain);
    return layer;
}

/* The next number, and the node's name with it: never that of a node which QEMU has, since that would be
 * taken for the new one. */
static json_int_t overlay_number(const struct world *world, json_t *state, char *node, size_t size)
{
    json_int_t number = json_integer_value(json_object_get(state, "counter")) + 1;

    for (;; number++) {
        snprintf(node, size, "qsnap-%lld", (long long)number);
        if (!world->graph || !graph_node_find(world->graph, node))
            break;
    }
    json_object_set_new(state, "counter", json_integer(number - 1));
    return number;
}

const char *overlay_plan(const struct world *world, json_t *state, const char *below_id,
                         struct err *err)
{
    const json_t *below = state_layer(state, below_id);
    char node[32];
    json_int_t number = overlay_number(world, state, node, sizeof(node));
    bool link = json_is_true(json_object_get(world_file(world, state_str(below, "path")), "link"));
    /* Where a link leads to there is the folder in which the overlay comes to lie. */
    char *path = overlay_path(world, overlay_base(state, below_id),
                              state_str(below, link ? "real" : "path"), number);
    char *real = overlay_path(world, overlay_base(state, below_id), state_str(below, "real"),
                              number);
    const char *id = NULL;

    if (strncmp(real, "/dev/", 5) == 0 && strncmp(real, "/dev/shm/", 9) != 0) {
        err_set(err, REASON_UNSUPPORTED_DISK, "'%s' is a device: its overlay would lie in /dev and be "
                "gone with the next boot; give the disk an image in a folder",
                state_str(below, "real"));
        err_name(err, "file", state_str(below, "real"));
    } else if (overlay_check_room(world, real, OVERLAY_ROOM, err)) {
        id = state_layer_add(state, json_pack("{s:s, s:s, s:s, s:s, s:s, s:O}", "path", path, "real",
                                              real, "format", "qcow2", "parent", below_id, "node",
                                              node, "size", json_object_get(below, "size")));
    }
    free(path);
    free(real);
    return id;
}

json_t *overlay_step(const json_t *state, const char *id)
{
    const json_t *layer = state_layer(state, id);
    const json_t *below = state_layer(state, state_str(layer, "parent"));
    const char *real = state_str(layer, "real");
    json_t *step = step_deed("overlay-create", real,
                             json_pack("{s:s, s:O, s:s, s:O}", "file", real, "size",
                                       json_object_get(layer, "size"), "backing",
                                       overlay_backing(below), "backing-format",
                                       json_object_get(below, "format")));

    step_undo(step, step_deed("file-remove", real, json_pack("{s:s}", "file", real)));
    return step;
}

json_t *overlay_options(const json_t *layer, const json_t *below, bool discard)
{
    const char *zeroes = state_str(below, "detect_zeroes");
    json_t *options = json_pack("{s:O, s:s, s:{s:s, s:O}, s:n}", "node-name",
                                json_object_get(layer, "node"), "driver", "qcow2", "file", "driver",
                                "file", "filename", json_object_get(layer, "path"), "backing");

    if (json_is_true(json_object_get(json_object_get(below, "cache"), "direct")))
        json_object_set_new(options, "cache", json_pack("{s:b}", "direct", 1));
    if (zeroes && strcmp(zeroes, "off") != 0)
        json_object_set_new(options, "detect-zeroes", json_string(zeroes));
    /* QEMU does not say whether a node passes discards on; "unmap" it takes only where they are. */
    if (discard || (zeroes && strcmp(zeroes, "unmap") == 0))
        json_object_set_new(options, "discard", json_string("unmap"));
    return options;
}
