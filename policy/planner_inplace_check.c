/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What speaks against a revert in place: all that can be known before the guest is stopped. */
#include <string.h>

#include "policy/disks.h"
#include "policy/fit.h"
#include "policy/overlay.h"
#include "policy/planner_inplace.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "policy/vmstate.h"

static bool in_place_no(struct err *why, const char *what)
{
    err_set(why, REASON_METHOD_UNAVAILABLE, "%s", what);
    return false;
}

/* QEMU keeps the state in which it stands; from those of the second row only a cont leads on (from
 * internal-error and shutdown only a reset: softmmu/runstate.c, runstate_needs_reset()). */
static bool in_place_check_status(const struct revert *revert, struct err *why)
{
    static const char *const fit[] = {
        "running", "paused",
        "guest-panicked", "io-error", "watchdog",
    };
    const char *status = world_status(revert->world);
    size_t n = strcmp(revert->target, "running") == 0 ? sizeof(fit) / sizeof(fit[0]) : 2;

    for (size_t i = 0; i < n; i++)
        if (strcmp(fit[i], status) == 0)
            return true;
    err_set(why, REASON_METHOD_UNAVAILABLE, "the VM is in state '%s', from which it cannot become %s by that",
            status, revert->target);
    return false;
}

static bool in_place_check_memory(const struct revert *revert, struct err *why)
{
    if (strcmp(revert->target, "prelaunch") == 0)
        return in_place_no(why, "a QEMU that has run cannot become one that has not");
    if (!revert->memory)
        return in_place_no(why, "the snapshot has no memory to load");
    if (!vmstate_is(revert->memory))
        return in_place_no(why, "its memory was saved as a stream, which only a new process loads: "
                                "create with memory: vmstate");
    return in_place_check_status(revert, why) && world_check_migratable(revert->world, why) &&
           overlay_check_room(revert->world, state_str(revert->memory, "file"),
                              planner_memory_bytes(revert->world), why);
}

/* An export holds the node that its disk is taken from. */
static bool in_place_exports(const json_t *config)
{
    static const char *const commands[] = { "block-export-add", "nbd-server-add" };
    json_t *command;
    size_t i;

    json_array_foreach((json_t *)config, i, command)
        for (size_t k = 0; k < 2; k++)
            if (strcmp(state_str(command, "execute"), commands[k]) == 0)
                return true;
    return false;
}

/* Memory can only be loaded into the very devices that it was saved from. */
static bool in_place_check_machine(const struct revert *revert, struct err *why)
{
    json_t *args = planner_args(revert->world->args), *ids = planner_device_ids(revert->world);
    json_t *config = planner_config(revert->world, revert->after);

    if (!fit_compare(json_object_get(revert->snapshot, "qemu"), json_object_get(revert->snapshot, "fit"),
                     revert->world->fit, why))
        ; /* why says what is another one */
    else if (!json_equal(args, json_object_get(revert->snapshot, "args")))
        in_place_no(why, "QEMU's command line was another one");
    else if (!json_equal(config, json_object_get(revert->snapshot, "config")) ||
             !json_equal(ids, json_object_get(revert->memory, "devices")))
        in_place_no(why, "the devices are not those that the snapshot has");
    else if (in_place_exports(config))
        in_place_no(why, "a disk is exported");
    json_decref(args);
    json_decref(ids);
    json_decref(config);
    return !why->set;
}

/* hw/core/qdev-properties-system.c, realized_set_allowed; tried out for these. */
static bool in_place_switchable(const char *type)
{
    static const char *const types[] = {
        "virtio-blk-device", "scsi-hd", "scsi-cd", "ide-hd", "ide-cd", "nvme", "nvme-ns", "usb-storage",
    };

    for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return false;
}

static bool in_place_check_device(const struct revert *revert, const struct vm_disk *disk,
                                  struct err *why)
{
    const char *qdev = disk->g->qdev;
    const json_t *drive = qdev ? json_object_get(revert->world->drives, qdev) : NULL;
    const char *type = state_str(drive, "type");

    if (!in_place_switchable(type))
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' is on a device (%s) that cannot be given "
                "another image while it is there", disk->label, type ? type : "none");
    else if (json_is_true(json_object_get(drive, "iothread")))
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' is served by an iothread", disk->label);
    else if (graph_disk_by_node(revert->world->graph, disk->g->chain[0].image->name) != disk->g)
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' has its image together with another device",
                disk->label);
    else if (disk->g->filtered)
        err_set(why, REASON_METHOD_UNAVAILABLE, "a filter stands above the image of disk '%s'",
                disk->label);
    return !why->set;
}

static bool in_place_check_disk(const struct revert *revert, const struct vm_disks *all, const char *key,
                                const char *layer, struct err *why)
{
    const json_t *then = json_object_get(json_object_get(revert->snapshot, "devices"), key);
    const json_t *now = state_disk(revert->after, key);
    const struct vm_disk *disk = disks_find(all, key);

    if (!disk || !now)
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' is not in the VM", key);
    else if (!json_equal(json_object_get(then, "qdev"), json_object_get(now, "qdev")) ||
             !json_equal(json_object_get(then, "device"), json_object_get(now, "device")))
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' is on another device", disk->label);
    else if (disk->g->active->virtual_size != state_layer_size(state_layer(revert->after, layer)))
        err_set(why, REASON_METHOD_UNAVAILABLE, "disk '%s' had another size", disk->label);
    else
        return in_place_check_device(revert, disk, why) &&
               disks_check_kind(revert->world, disk, why);
    return false;
}

static bool in_place_check_disks(const struct revert *revert, struct err *why)
{
    json_t *disks = json_object_get(revert->snapshot, "disks"), *layer;
    struct vm_disks all;
    const char *key;
    bool ok = true;

    disks_list(revert->world, &all);
    json_object_foreach(disks, key, layer)
        ok = ok && in_place_check_disk(revert, &all, key, json_string_value(layer), why);
    for (size_t i = 0; ok && i < all.n; i++)
        if (all.v[i].g->writable && json_object_size(disks) == 0) {
            err_set(why, REASON_METHOD_UNAVAILABLE, "the snapshot has memory but no disk, and disk '%s' "
                    "has been written to since", all.v[i].label);
            ok = false;
        }
    disks_clear(&all);
    return ok;
}

/* One that could not be closed would be taken for the new one of that name. */
static bool in_place_check_nodes(const struct revert *revert, struct err *why)
{
    static const char *const ours[] = { IN_PLACE_NODE_LOAD, IN_PLACE_NODE_HOLD };
    const struct graph *graph = revert->world->graph;

    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++)
            if (strncmp(graph->nodes[i].name, ours[k], strlen(ours[k])) == 0) {
                err_set(why, REASON_METHOD_UNAVAILABLE, "node '%s' is still open: close it with "
                        "blockdev-del", graph->nodes[i].name);
                return false;
            }
    return true;
}

bool in_place_possible(const struct revert *revert, struct err *why)
{
    return in_place_check_memory(revert, why) && in_place_check_machine(revert, why) &&
           in_place_check_disks(revert, why) && in_place_check_nodes(revert, why);
}
