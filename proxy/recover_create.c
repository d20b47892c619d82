/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A create that was interrupted, when no QEMU is there to be asked.
 *
 * Rule: its overlays are kept where they are whole, since the guest may have written to them, and an empty one
 * reads like what it stands on.  They are removed where the journal says that they were being taken back, or where
 * one of them was never finished: all are, before a disk moves.  What is neither is for a person.
 */
#include "proxy/recover_internal.h"

#include <string.h>

#include "policy/planner.h"
#include "policy/planner_layers.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds.h"
#include "proxy/log.h"
#include "proxy/recover_look.h"

enum create_overlays { OVERLAYS_WHOLE, OVERLAYS_UNFINISHED, OVERLAYS_UNCLEAR };

static bool create_is_new(const json_t *before, const char *id, const json_t *layer)
{
    return !state_layer(before, id) && !json_object_get(layer, "base") && !json_object_get(layer, "foreign");
}

/* Are the images there that the create's disks stood on before?  As long as a file system is not mounted
 * nothing can be told of what lies beside them. */
static bool create_there(const struct world *world, const json_t *before, const json_t *adopted,
                         struct err *err)
{
    const char *key;
    json_t *disk, *id;
    size_t i;

    json_object_foreach(json_object_get(adopted, "disks"), key, disk) {
        json_t *chain = state_chain(adopted, state_str(disk, "active"), true);

        if (state_layer(before, state_str(disk, "active")))
            json_array_clear(chain); /* not one of them */
        json_array_foreach(chain, i, id) {
            const json_t *layer = state_layer(adopted, json_string_value(id));
            const char *real = state_str(layer, "real");

            if (create_is_new(before, json_string_value(id), layer) || err->set || world_file(world, real))
                continue;
            err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", real);
            err_name(err, "file", real);
        }
        json_decref(chain);
    }
    return !err->set;
}

/* Was the overlay's file made, and not what makes an overlay of it? */
static bool create_is_unfinished(const struct world *world, const json_t *layer)
{
    const json_t *file = world_file(world, state_str(layer, "real"));

    return !file || (!json_object_get(file, "bad") && !json_object_get(file, "backing"));
}

/* err is set where they are unclear. */
static enum create_overlays create_look(const struct world *world, const json_t *before,
                                        const json_t *adopted, struct err *err)
{
    bool unfinished = false;
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(adopted, "layers"), id, layer) {
        struct err why = ERR_INIT;

        if (!create_is_new(before, id, layer) || layers_check_header(world, adopted, id, &why))
            continue;
        log_info("recovery: %s", why.desc);
        if (create_is_unfinished(world, layer))
            unfinished = true;
        else if (!err->set)
            err_move(err, &why);
        err_clear(&why);
    }
    if (unfinished)
        err_clear(err);
    return unfinished ? OVERLAYS_UNFINISHED : err->set ? OVERLAYS_UNCLEAR : OVERLAYS_WHOLE;
}

/* Its last overlay may have been made, and not be known to be on the disk. */
static void create_adopt(struct daemon *daemon, const json_t *plan, const json_t *adopted, struct err *err)
{
    json_t *step, *result = NULL;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (!err->set && strcmp(state_str(step, "step"), "overlay-create") == 0)
            deeds_find("file-sync")(json_object_get(step, "args"), &result, err);
    if (!err->set)
        store_write_or_keep(daemon->store, adopted);
}

bool recover_create(struct daemon *daemon, const json_t *plan, struct err *err)
{
    const json_t *before = daemon->store->state;
    const char *name = state_str(plan, "name"), *what = "it is taken back";
    json_t *adopted = planner_adopted(plan, before);
    enum create_overlays overlays = OVERLAYS_UNCLEAR;
    struct world world;

    if (recover_look_at(daemon, adopted, &world, err) && create_there(&world, before, adopted, err))
        overlays = json_is_true(json_object_get(plan, "adopt"))
                       ? create_look(&world, before, adopted, err) : OVERLAYS_UNFINISHED;
    if (state_is_after(before, json_object_get(plan, "after")) && !err->set) {
        what = "its overlays are on record";
    } else if (overlays == OVERLAYS_WHOLE) {
        what = "its overlays are kept";
        create_adopt(daemon, plan, adopted, err);
    } else if (overlays == OVERLAYS_UNFINISHED) {
        recover_undo_files(daemon, plan);
    } else {
        what = "that is settled when its images are there";
    }
    log_warn("snapshot-create of '%s' was interrupted: %s", name, what);
    json_decref(world.files);
    json_decref(adopted);
    return !err->set;
}
