/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_layers.h"

#include <stdlib.h>
#include <string.h>

#include "policy/args_rewrite.h"
#include "policy/disks.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* layers: room for the chain; the strings are the record's. */
static void layers_fill(const json_t *state, const json_t *chain, struct layer_arg *layers)
{
    json_t *id;
    size_t i;

    json_array_foreach((json_t *)chain, i, id) {
        const json_t *layer = state_layer(state, json_string_value(id));

        layers[i].path = state_str(layer, "path");
        layers[i].format = state_str(layer, "format");
        layers[i].node_name = state_str(layer, "node");
    }
}

/* A client may have streamed the image that the command line names into the lowest layer. */
static bool layers_base_is_gone(const json_t *state, const json_t *chain)
{
    json_t *lowest = json_array_get(chain, json_array_size(chain) - 1);

    return !json_is_true(json_object_get(state_layer(state, json_string_value(lowest)), "base"));
}

static struct disk_rewrite *layers_disks(const json_t *state, const json_t *actives)
{
    struct disk_rewrite *disks = alloc_zeroed(json_object_size(actives) + 1, sizeof(*disks));
    size_t n = 0;
    const char *key;
    json_t *active;

    json_object_foreach((json_t *)actives, key, active) {
        json_t *chain = state_chain(state, json_string_value(active), false);
        struct layer_arg *layers = alloc_zeroed(json_array_size(chain) + 1, sizeof(*layers));

        layers_fill(state, chain, layers);
        disks[n].key = key;
        disks[n].layers = layers;
        disks[n].n_layers = json_array_size(chain);
        disks[n].gone = layers_base_is_gone(state, chain);
        n++;
        json_decref(chain);
    }
    return disks;
}

char **layers_rewrite(const struct args *args, const json_t *state, const json_t *actives,
                      enum layers_start start, const char *prefix, json_t **late, struct err *err)
{
    struct disk_rewrite *disks = layers_disks(state, actives);
    size_t n = json_object_size(actives);
    struct args_rewrite rewrite = {
        .disks = disks,
        .n_disks = n,
        .paused = start != LAYERS_RUN,
        .incoming = start == LAYERS_INCOMING,
        .late = late != NULL,
        .again = start != LAYERS_RUN && !late,
        .late_prefix = prefix,
        .node_prefix = "qsnap",
    };
    json_t *unused = NULL;
    char **argv = NULL;

    if (!args_rewrite(args, &rewrite, &argv, late ? late : &unused, err))
        argv = NULL;
    json_decref(unused);
    for (size_t i = 0; i < n; i++)
        free((void *)disks[i].layers);
    free(disks);
    return argv;
}

/* A string that a client chose may lead through links and folders to another file by now. */
static bool layers_header_leads(const struct world *world, const json_t *layer, const json_t *below)
{
    const json_t *file = world_file(world, state_str(layer, "path"));

    return !state_str(layer, "backing") ||
           disks_same_file(json_object_get(file, "leads"), world_file(world, state_str(below, "real")));
}

static bool layers_header_is(const struct world *world, const json_t *layer, const json_t *below,
                             const json_t *file)
{
    const char *backing = state_str(file, "backing"), *format = state_str(file, "backing-format");

    if (!below)
        return !backing;
    return backing && strcmp(backing, overlay_header(layer, below)) == 0 && format &&
           strcmp(format, state_str(below, "format")) == 0 &&
           layers_header_leads(world, layer, below);
}

/* An overlay's header is the only thing that QEMU follows to find the layer below.  There is none when
 * a client has streamed everything into it. */
bool layers_check_header(const struct world *world, const json_t *state, const char *id,
                         struct err *err)
{
    const json_t *layer = state_layer(state, id);
    const json_t *below = state_layer(state, state_str(layer, "parent"));
    const char *real = state_str(layer, "real");
    const json_t *file = world_file(world, real);
    const char *backing = state_str(file, "backing"), *format = state_str(file, "backing-format");
    const char *bad = state_str(file, "bad");

    if (json_is_true(json_object_get(layer, "base")) || json_is_true(json_object_get(layer, "foreign")))
        return true;
    if (!file) {
        err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", real);
    } else if (bad) {
        err_set(err, REASON_BAD_IMAGE, "The image '%s' cannot be used: %s", real, bad);
    } else if (!layers_header_is(world, layer, below, file)) {
        err_set(err, REASON_CHAIN_MISMATCH, "The header of '%s' names '%s' (%s) as its backing file, "
                "the record says '%s' (%s)", real, backing ? backing : "nothing",
                format ? format : "no format", below ? overlay_header(layer, below) : "nothing",
                below ? state_str(below, "format") : "no format");
    } else {
        return true;
    }
    err_name(err, "file", real);
    return false;
}

bool layers_check_headers(const struct world *world, const json_t *state, const char *id,
                          struct err *err)
{
    json_t *chain = state_chain(state, id, false);
    bool ok = true;

    for (size_t i = 0; ok && i < json_array_size(chain); i++) {
        const char *at = json_string_value(json_array_get(chain, i));

        ok = layers_check_header(world, state, at, err);
        if (ok && i > 0)
            ok = disks_check_frozen(world, state, at, err);
    }
    json_decref(chain);
    return ok;
}

bool layers_check_foreign(const struct world *world, const json_t *state, const char *id,
                          struct err *err)
{
    json_t *chain = state_chain(state, id, true);
    bool ok = true;

    for (size_t i = 0; ok && i < json_array_size(chain); i++) {
        const char *at = json_string_value(json_array_get(chain, i));

        if (json_is_true(json_object_get(state_layer(state, at), "foreign")))
            ok = disks_check_frozen(world, state, at, err);
    }
    json_decref(chain);
    return ok;
}

/* new: the name by which the new process has opened chain[i], which stands below chain[i - 1]. */
static char *layers_opened(const json_t *state, const json_t *chain, size_t i, const char *above,
                           bool drive)
{
    const json_t *layer = state_layer(state, json_string_value(json_array_get(chain, i)));
    const json_t *upper = i ? state_layer(state, json_string_value(json_array_get(chain, i - 1)))
                            : NULL;
    bool named = !drive && !json_is_true(json_object_get(layer, "foreign"));
    char *opened = NULL;

    /* Below a drive's first layer a file is opened by what the header above it says; so is what no
     * -blockdev names. */
    if (upper && !named && (drive || state_str(upper, "backing")))
        opened = overlay_resolve(above, overlay_header(upper, layer));
    if (!opened)
        opened = alloc_copy(state_str(layer, "path"));
    return opened;
}

/* new: the layer's other names: a process that runs on has it open by the one that it had at that
 * time; NULL: it has none. */
static json_t *layers_other_names(const json_t *layer, const char *opened)
{
    static const char *const members[] = { "path", "real" };
    json_t *names = json_array();

    for (size_t i = 0; i < 2; i++)
        if (strcmp(state_str(layer, members[i]), opened) != 0)
            json_array_append(names, json_object_get(layer, members[i]));
    if (json_array_size(names) > 0)
        return names;
    json_decref(names);
    return NULL;
}

/* new: the chain of one disk, as it must be open. */
static json_t *layers_links(const json_t *state, const char *active, bool drive)
{
    json_t *chain = state_chain(state, active, true), *links = json_array(), *id;
    char *above = NULL;
    size_t i;

    json_array_foreach(chain, i, id) {
        char *opened = layers_opened(state, chain, i, above, drive);
        const json_t *layer = state_layer(state, json_string_value(id));

        json_array_append_new(links, json_pack("{s:s, s:o*, s:O}", "file", opened, "also",
                                               layers_other_names(layer, opened), "driver",
                                               json_object_get(layer, "format")));
        free(above);
        above = opened;
    }
    free(above);
    json_decref(chain);
    return links;
}

json_t *layers_header_step(const json_t *state, const char *id)
{
    const json_t *layer = state_layer(state, id);
    const json_t *below = state_layer(state, state_str(layer, "parent"));

    return step_deed("header-check", id,
                     json_pack("{s:O, s:s, s:O}", "file", json_object_get(layer, "real"), "backing",
                               overlay_header(layer, below), "backing-format",
                               json_object_get(below, "format")));
}

json_t *layers_expect(const json_t *state, const json_t *actives)
{
    json_t *disks = json_array();
    const char *key;
    json_t *active;

    json_object_foreach((json_t *)actives, key, active) {
        const json_t *disk = state_disk(state, key);
        bool drive = strncmp(key, "drive:", 6) == 0;

        json_array_append_new(disks,
                              json_pack("{s:s, s:o}", drive ? "device" : "qdev",
                                        drive ? key + 6 : state_str(disk, "qdev"), "chain",
                                        layers_links(state, json_string_value(active), drive)));
    }
    return json_pack("{s:s, s:o}", "is", "chain", "disks", disks);
}
