/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/observe.h"

#include <stdlib.h>
#include <string.h>

#include "policy/observe_internal.h"
#include "policy/state.h"

json_int_t observe_command_of(const struct observe *observe, const struct graph_link *link)
{
    json_t *names;
    size_t i;

    json_array_foreach((json_t *)observe->commands, i, names)
        if (state_list_has(names, link->image->name) || state_list_has(names, link->file))
            return (json_int_t)i;
    return -1;
}

/* Where in the chain of a disk that is not on record its own image stands: the one that the command
 * line names, or, where there is none, what was active before the command that was seen.  0: nothing
 * is known to have come on top. */
static size_t observe_base(const struct observe *observe, const struct vm_disk *disk)
{
    const struct graph_disk *g = disk->g;
    const json_t *named;

    if (!disk->a)
        return g->n_chain > 1 && observe_command_of(observe, &g->chain[0]) >= 0 ? 1 : 0;
    named = disk->a->path ? world_file(observe->world, disk->a->path) : NULL;
    for (size_t i = 0; i < g->n_chain; i++)
        if (disks_same_file(named, world_file(observe->world, g->chain[i].file)))
            return i;
    return 0;
}

/* Is the disk one of which something can be said? */
static bool observe_fit(const struct world *world, const struct vm_disk *disk)
{
    struct err err = ERR_INIT;
    bool fit = disks_check_kind(world, disk, &err);

    err_clear(&err);
    for (size_t i = 0; fit && i < disk->g->n_chain; i++)
        fit = world_file(world, disk->g->chain[i].file) && !disk->g->chain[i].image->in_job &&
              disks_is_open(world, disk->g->chain[i].file);
    return fit;
}

static bool observe_disk(struct observe *observe, const struct vm_disk *disk)
{
    const json_t *record = state_disk(observe->state, disk->key);
    const char *qdev = state_str(record, "qdev");
    struct err err = ERR_INIT;
    size_t base;
    bool ok;

    if (record)
        return (!qdev || (disk->g->qdev && strcmp(disk->g->qdev, qdev) == 0)) &&
               observe_chain(observe, disk);
    base = observe_base(observe, disk);
    ok = base > 0 && disks_register_at(observe->world, observe->state, disk, base, &err);
    err_clear(&err);
    return ok && observe_add_overlays(observe, disk, base);
}

static bool observe_allowed(const struct world *world)
{
    struct err err = ERR_INIT;
    bool allowed = !world->args || args_check_snapshots(world->args, &err);

    err_clear(&err);
    return allowed;
}

json_t *observe(const struct world *world, const json_t *state, const json_t *commands)
{
    struct observe observe = {
        .world = world,
        .commands = commands,
        .state = json_deep_copy(state),
        .frozen = json_array(),
    };
    struct vm_disks all;

    disks_list(world, &all);
    for (size_t i = 0; observe_allowed(world) && i < all.n; i++) {
        json_t *before = json_deep_copy(observe.state);
        size_t frozen = json_array_size(observe.frozen);

        if (observe_fit(world, &all.v[i]) && observe_disk(&observe, &all.v[i])) {
            json_decref(before);
            continue;
        }
        json_decref(observe.state);
        observe.state = before;
        while (json_array_size(observe.frozen) > frozen)
            json_array_remove(observe.frozen, json_array_size(observe.frozen) - 1);
    }
    disks_clear(&all);
    observe_tidy_config(&observe);
    observe_add_snapshots(&observe);
    json_decref(observe.frozen);
    if (json_equal(observe.state, state)) {
        json_decref(observe.state);
        return NULL;
    }
    state_advance(observe.state);
    return observe.state;
}

/* ---- commands ---- */

static void observe_add_name(json_t *names, const char *command, const json_t *data)
{
    const char *const members[] = { "overlay", "snapshot-node-name", "snapshot-file" };
    size_t first = strcmp(command, "blockdev-snapshot") == 0 ? 0 : 1;
    size_t end = first == 0 ? 1 : 3;

    for (size_t i = first; i < end; i++)
        if (state_str(data, members[i]))
            json_array_append(names, json_object_get(data, members[i]));
}

static bool observe_is_snapshot(const char *command)
{
    return command && (strcmp(command, "blockdev-snapshot") == 0 ||
                       strcmp(command, "blockdev-snapshot-sync") == 0);
}

json_t *observe_command(const char *command, const json_t *arguments)
{
    json_t *names = json_array(), *action;
    bool any = observe_is_snapshot(command);
    size_t i;

    if (any)
        observe_add_name(names, command, arguments);
    else if (strcmp(command, "transaction") == 0)
        json_array_foreach(json_object_get(arguments, "actions"), i, action) {
            const char *type = state_str(action, "type");

            if (!observe_is_snapshot(type))
                continue;
            any = true;
            observe_add_name(names, type, json_object_get(action, "data"));
        }
    if (any)
        return names;
    json_decref(names);
    return NULL;
}
