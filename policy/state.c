/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"

const char *state_str(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

bool state_list_has(const json_t *list, const char *text)
{
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)list, i, item)
        if (text && strcmp(json_string_value(item), text) == 0)
            return true;
    return false;
}

json_t *state_new(void)
{
    json_t *state = json_pack("{s:i, s:i, s:i, s:n, s:[], s:{}, s:{}, s:[]}", "format",
                              STATE_FORMAT, "generation", 0, "counter", 0, "current", "config", "disks", "layers", "snapshots");

    if (!state)
        abort();
    return state;
}

static json_int_t state_generation(const json_t *state)
{
    return json_integer_value(json_object_get(state, "generation"));
}

void state_advance(json_t *state)
{
    json_object_set_new(state, "generation", json_integer(state_generation(state) + 1));
}

bool state_is_after(const json_t *state, const json_t *after)
{
    return after && state_generation(state) >= state_generation(after);
}

/* Every layer's parent exists, and following parents ends. */
static bool state_check_layers(const json_t *layers, json_int_t counter)
{
    const char *id;
    json_t *layer;

    json_object_foreach((json_t *)layers, id, layer) {
        size_t steps = 0;
        const json_t *at = layer;

        if (!json_is_integer(json_object_get(layer, "size")) || id[0] != 'L' ||
            strtoll(id + 1, NULL, 10) > counter)
            return false;
        while (at) {
            const char *parent = state_str(at, "parent");

            if (!state_str(at, "path") || !state_str(at, "real") || !state_str(at, "format") ||
                ++steps > json_object_size(layers))
                return false;
            if (!parent)
                break;
            at = json_object_get(layers, parent);
            if (!at)
                return false;
        }
    }
    return true;
}

static bool state_check_disks(const json_t *disks, const json_t *layers)
{
    const char *key;
    json_t *disk;

    json_object_foreach((json_t *)disks, key, disk) {
        const char *active = state_str(disk, "active"), *base = state_str(disk, "base");

        if (!active || !base || !json_object_get(layers, active) || !json_object_get(layers, base))
            return false;
    }
    return true;
}

/* A parent is an older snapshot, so that following parents ends, and names are not used twice. */
static bool state_check_family(const json_t *state)
{
    json_t *names = json_object(), *snapshot;
    bool ok = true;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        const char *name = state_str(snapshot, "name"), *parent = state_str(snapshot, "parent");

        ok = ok && name && !json_object_get(names, name) &&
             (!parent || json_object_get(names, parent));
        if (name)
            json_object_set_new(names, name, json_true());
    }
    json_decref(names);
    return ok;
}

/* To be called behind state_check_family(): names are there. */
static bool state_check_current(const json_t *state)
{
    const json_t *current = json_object_get(state, "current");

    return json_is_null(current) ||
           (json_is_string(current) && state_snapshot(state, json_string_value(current)));
}

static bool state_check_snapshots(const json_t *state)
{
    const json_t *layers = json_object_get(state, "layers");
    json_t *snapshot, *layer;
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        if (!state_str(snapshot, "run-state") ||
            !json_is_object(json_object_get(snapshot, "disks")) ||
            !json_is_array(json_object_get(snapshot, "args")))
            return false;
        json_object_foreach(json_object_get(snapshot, "disks"), key, layer) {
            const char *id = json_string_value(layer);

            if (!id || !json_object_get(layers, id))
                return false;
        }
    }
    return true;
}

/* A command line, where there is one. */
static bool state_check_args(const json_t *args)
{
    bool ok = !args || json_array_size(args) > 0;
    json_t *word;
    size_t i;

    json_array_foreach(args, i, word)
        ok = ok && json_is_string(word);
    return ok;
}

bool state_check(const json_t *state, struct err *err)
{
    json_int_t format = json_integer_value(json_object_get(state, "format"));
    const json_t *layers = json_object_get(state, "layers");
    const json_t *disks = json_object_get(state, "disks");

    if (format > STATE_FORMAT) {
        err_set(err, REASON_FILE_UNUSABLE,
                "The state folder was written by a newer qmp-proxy (format %" JSON_INTEGER_FORMAT
                ", this one knows %d): use that version", format, STATE_FORMAT);
        return false;
    }
    if (format == STATE_FORMAT && json_is_object(layers) && json_is_object(disks) &&
        json_is_array(json_object_get(state, "snapshots")) &&
        json_is_array(json_object_get(state, "config")) && state_check_family(state) &&
        state_check_current(state) && state_check_args(json_object_get(state, "args")) &&
        json_is_integer(json_object_get(state, "counter")) &&
        state_check_layers(layers, json_integer_value(json_object_get(state, "counter"))) &&
        state_check_disks(disks, layers) && state_check_snapshots(state))
        return true;
    err_set(err, REASON_FILE_UNUSABLE, "The record of this VM's snapshots is damaged: restore "
            "state.json from a backup");
    return false;
}

json_t *state_snapshot(const json_t *state, const char *name)
{
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot)
        if (strcmp(state_str(snapshot, "name"), name) == 0)
            return snapshot;
    return NULL;
}

json_t *state_snapshot_need(const json_t *state, const char *name, struct err *err)
{
    json_t *snapshot = state_snapshot(state, name);

    if (!snapshot) {
        err_set(err, REASON_UNKNOWN_SNAPSHOT,
                "There is no snapshot '%s': query-snapshots lists those there are", name);
        err_name(err, "snapshot", name);
    }
    return snapshot;
}

json_t *state_children(const json_t *state, const char *name)
{
    json_t *children = json_array();
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        const char *parent = state_str(snapshot, "parent");

        if (parent && strcmp(parent, name) == 0)
            json_array_append(children, json_object_get(snapshot, "name"));
    }
    return children;
}

void state_snapshot_remove(json_t *state, const char *name)
{
    json_t *snapshots = json_object_get(state, "snapshots");
    json_t *parent = json_incref(json_object_get(state_snapshot(state, name), "parent"));
    const char *current = state_str(state, "current");
    json_t *snapshot;
    size_t i, found = json_array_size(snapshots);

    if (current && strcmp(current, name) == 0)
        json_object_set(state, "current", parent);
    json_array_foreach(snapshots, i, snapshot) {
        const char *of = state_str(snapshot, "parent");

        if (strcmp(state_str(snapshot, "name"), name) == 0)
            found = i;
        else if (of && strcmp(of, name) == 0)
            json_object_set(snapshot, "parent", parent);
    }
    json_array_remove(snapshots, found);
    json_decref(parent);
}

json_t *state_layer(const json_t *state, const char *id)
{
    return id ? json_object_get(json_object_get(state, "layers"), id) : NULL;
}

const char *state_layer_add(json_t *state, json_t *layer)
{
    json_t *layers = json_object_get(state, "layers");
    json_int_t number = json_integer_value(json_object_get(state, "counter")) + 1;
    char id[32];

    json_object_set_new(state, "counter", json_integer(number));
    snprintf(id, sizeof(id), "L%" JSON_INTEGER_FORMAT, number);
    json_object_set_new(layers, id, layer);
    return json_object_iter_key(json_object_iter_at(layers, id));
}

size_t state_layer_children(const json_t *state, const char *id, const char **only)
{
    const char *other;
    json_t *layer;
    size_t n = 0;

    json_object_foreach(json_object_get(state, "layers"), other, layer) {
        const char *parent = state_str(layer, "parent");

        if (parent && strcmp(parent, id) == 0) {
            n++;
            if (only)
                *only = other;
        }
    }
    return n;
}

bool state_layer_named(const json_t *state, const char *id, const char *except)
{
    json_t *snapshot, *layer;
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        if (except && strcmp(state_str(snapshot, "name"), except) == 0)
            continue;
        json_object_foreach(json_object_get(snapshot, "disks"), key, layer)
            if (strcmp(json_string_value(layer), id) == 0)
                return true;
    }
    return false;
}

const char *state_layer_active_of(const json_t *state, const char *id)
{
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(state, "disks"), key, disk)
        if (strcmp(state_str(disk, "active"), id) == 0)
            return key;
    return NULL;
}

json_int_t state_layer_size(const json_t *layer)
{
    return json_integer_value(json_object_get(layer, "size"));
}

bool state_layer_needed(const json_t *state, const char *id)
{
    const json_t *layer = state_layer(state, id);

    return json_is_true(json_object_get(layer, "foreign")) ||
           json_is_true(json_object_get(layer, "base")) || state_layer_named(state, id, NULL) ||
           state_layer_active_of(state, id) || state_layer_children(state, id, NULL) > 0;
}

/* Does a snapshot, or another layer, stand on an image of that chain? */
static bool state_chain_used(const json_t *state, const json_t *chain)
{
    json_t *id;
    size_t i;

    json_array_foreach((json_t *)chain, i, id)
        if (state_layer_named(state, json_string_value(id), NULL) ||
            state_layer_children(state, json_string_value(id), NULL) > (i > 0))
            return true;
    return false;
}

bool state_forget_disks(json_t *state)
{
    json_t *disks = json_object_get(state, "disks"), *disk, *id;
    bool any = false;
    const char *key;
    void *next;
    size_t i;

    json_object_foreach_safe(disks, next, key, disk) {
        json_t *chain = state_chain(state, state_str(disk, "active"), true);

        if (json_object_get(state_layer(state, state_str(disk, "active")), "base") &&
            !state_chain_used(state, chain)) {
            json_array_foreach(chain, i, id)
                json_object_del(json_object_get(state, "layers"), json_string_value(id));
            json_object_del(disks, key);
            any = true;
        }
        json_decref(chain);
    }
    return any;
}

json_t *state_collect_garbage(json_t *state)
{
    json_t *layers = json_object_get(state, "layers");
    json_t *paths = json_array();
    bool again = true;

    /* A layer may become garbage when the one above it goes. */
    while (again) {
        const char *id;
        json_t *layer;
        void *next;

        again = false;
        json_object_foreach_safe(layers, next, id, layer) {
            if (state_layer_needed(state, id))
                continue;
            json_array_append(paths, json_object_get(layer, "real"));
            json_object_del(layers, id);
            again = true;
        }
    }
    return paths;
}

json_t *state_disk(const json_t *state, const char *key)
{
    return json_object_get(json_object_get(state, "disks"), key);
}

json_t *state_chain(const json_t *state, const char *id, bool foreign)
{
    json_t *chain = json_array();

    while (id) {
        const json_t *layer = state_layer(state, id);

        if (!layer || (!foreign && json_is_true(json_object_get(layer, "foreign"))))
            break;
        json_array_append_new(chain, json_string(id));
        id = state_str(layer, "parent");
    }
    return chain;
}
