/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/args_util.h"
#include "policy/config_args.h"
#include "policy/qemuopts.h"
#include "policy/state.h"

const char *const config_places[] = {
    "multifunction", "addr", "scsi-id", "lun", "channel", "nr", "slot", NULL,
};

const char *config_node(const json_t *command, const char *execute)
{
    const char *name = state_str(command, "execute");

    return name && strcmp(name, execute) == 0
               ? state_str(json_object_get(command, "arguments"), "node-name") : NULL;
}

const char *config_device(const json_t *command)
{
    const char *name = state_str(command, "execute");

    return name && strcmp(name, "device_add") == 0
               ? state_str(json_object_get(command, "arguments"), "id") : NULL;
}

/* ---- the record ---- */

static bool config_names(const json_t *command, const char *execute, const char *member,
                         const char *id)
{
    const char *name = state_str(command, "execute");
    const char *other = state_str(json_object_get(command, "arguments"), member);

    return name && strcmp(name, execute) == 0 && (!id || (other && strcmp(other, id) == 0));
}

/* Takes out every such command (id NULL: of whatever); true when there was one. */
static bool config_forget(json_t *config, const char *execute, const char *member, const char *id)
{
    size_t before = json_array_size(config);

    for (size_t i = before; i-- > 0;)
        if (config_names(json_array_get(config, i), execute, member, id))
            json_array_remove(config, i);
    return json_array_size(config) != before;
}

/* True: the removal has no trace of its own. */
static bool config_removed(json_t *config, const struct args *args, const struct config_row *row,
                           const char *id)
{
    bool ours = config_forget(config, config_row_adder(row)->command, row->member, id);
    bool given = args && config_option_find(args, row->option, id) < args_count(args);

    if (strcmp(row->option, "chardev") == 0)
        ours |= config_forget(config, "chardev-change", "id", id) && !given;
    /* A node that nobody has added over QMP or named is a layer of ours, or lies below one. */
    return ours || (args && !given && strcmp(row->option, "blockdev") == 0);
}

/* True: what was added got another backend. */
static bool config_changed(json_t *config, const char *id, const json_t *arguments)
{
    json_t *command;
    size_t i;

    json_array_foreach(config, i, command)
        if (config_names(command, "chardev-add", "id", id)) {
            json_t *copy = json_deep_copy(command);

            json_object_set(json_object_get(copy, "arguments"), "backend",
                            json_object_get(arguments, "backend"));
            json_array_set_new(config, i, copy);
            return true;
        }
    config_forget(config, "chardev-change", "id", id);
    return false;
}

/* Exports and their server leave no trace either; true: this command has taken some away. */
static bool config_export_gone(json_t *config, const char *name, const json_t *arguments)
{
    if (strcmp(name, "block-export-del") == 0)
        return config_forget(config, "block-export-add", "id", state_str(arguments, "id"));
    if (strcmp(name, "nbd-server-remove") == 0)
        return config_forget(config, "nbd-server-add", "name", state_str(arguments, "name")) ||
               config_forget(config, "nbd-server-add", "device", state_str(arguments, "name"));
    if (strcmp(name, "nbd-server-stop") != 0 ||
        !config_forget(config, "nbd-server-start", "addr", NULL))
        return false;
    config_forget(config, "nbd-server-add", "name", NULL);
    config_forget(config, "block-export-add", "type", "nbd");
    return true;
}

/* The limits of a disk: the last ones count. */
static void config_forget_throttle(json_t *config, const json_t *arguments)
{
    static const char *const members[] = { "device", "id" };

    for (size_t i = 0; i < 2; i++)
        if (state_str(arguments, members[i]))
            config_forget(config, "block_set_io_throttle", members[i],
                          state_str(arguments, members[i]));
}

/* True: it had an id, or was part of another one. */
static bool config_gone(json_t *config, const json_t *data)
{
    const char *id = state_str(data, "device"), *path = state_str(data, "path"), *rest;

    if (id)
        config_forget(config, "device_add", "id", id);
    return id || !path || !args_util_prefix(path, "/machine/peripheral-anon/", &rest) ||
           strchr(rest, '/');
}

/* True: nothing is left to be recorded. */
static bool config_settle(json_t *config, const struct args *args, const json_t *command)
{
    static const char *const nothing[] = { "device_del", "block_resize", NULL };
    const char *name = state_str(command, "execute");
    const json_t *arguments = json_object_get(command, "arguments");
    const struct config_row *row = config_row_find(name);
    const char *id = row ? state_str(arguments, row->member) : NULL;

    if (args_util_listed(name, nothing))
        return true;
    if (strcmp(name, CONFIG_GONE) == 0)
        return config_gone(config, arguments);
    if (strcmp(name, "block_set_io_throttle") == 0)
        config_forget_throttle(config, arguments);
    if (!row || !id)
        return config_export_gone(config, name, arguments);
    if (row->deed == CONFIG_REMOVE)
        return config_removed(config, args, row, id);
    if (row->deed == CONFIG_CHANGE)
        return config_changed(config, id, arguments);
    /* An older one of that id has gone. */
    if (strcmp(row->option, "device") == 0) {
        config_forget(config, "device_add", "id", id);
        config_forget(config, "device_del", "id", id);
    }
    return false;
}

void config_add(json_t *state, const struct args *args, const json_t *command)
{
    json_t *config = json_object_get(state, "config");

    if (!config_settle(config, args, command))
        json_array_append(config, (json_t *)command);
}

bool config_human(const char *line)
{
    static const char *const verbs[] = { "device_add", "drive_add", "drive_del", "netdev_add",
        "netdev_del", "object_add", "object_del", "chardev-add", "chardev-change", "chardev-remove",
        "change", "eject", "hostfwd_add", "hostfwd_remove", "nbd_server_start", "nbd_server_add",
        "qom-set", NULL };
    ARGS_AUTO_TEXT verb = NULL;

    line += strspn(line, " \t");
    verb = args_util_ndup(line, strcspn(line, " \t"));
    return args_util_listed(verb, verbs);
}

/* ---- now ---- */

static void place_number(json_t *arguments, const json_t *place, const char *property)
{
    json_t *value = json_object_get(place, property);

    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        !json_object_get(arguments, property))
        json_object_set(arguments, property, value);
}

/* Only PCI devices have multifunction; their addr is slot and function, that of memory an address. */
static void place_pci(json_t *arguments, const json_t *place)
{
    json_int_t devfn = json_integer_value(json_object_get(place, "addr"));
    char text[16];

    if (!json_is_integer(json_object_get(place, "addr")) || devfn < 0 || devfn > 255 ||
        json_object_get(arguments, "addr"))
        return;
    snprintf(text, sizeof(text), "%x.%x", (unsigned)devfn >> 3, (unsigned)devfn & 7);
    json_object_set_new(arguments, "addr", json_string(text));
}

/* new: the device_add with the place that QEMU has chosen. */
static json_t *config_placed(const json_t *command, const json_t *place)
{
    json_t *copy = json_deep_copy(command), *arguments = json_object_get(copy, "arguments");
    const char *driver = state_str(arguments, "driver") ?: "";

    if (json_object_get(place, "multifunction")) {
        place_pci(arguments, place);
    } else if (json_object_get(place, "scsi-id")) {
        place_number(arguments, place, "channel");
        place_number(arguments, place, "scsi-id");
        place_number(arguments, place, "lun");
    } else if (json_object_get(place, "nr")) {
        place_number(arguments, place, "nr");
    } else if (strcmp(driver, "pc-dimm") == 0 || strcmp(driver, "nvdimm") == 0) {
        place_number(arguments, place, "addr");
        place_number(arguments, place, "slot");
    }
    return copy;
}

/* new: the option as the arguments of a device_add, all of them text; NULL: it has no id. */
static json_t *config_given_one(const struct arg *arg)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts = qemuopts_parse(arg->value, "driver", &err);
    json_t *arguments = NULL;

    err_clear(&err);
    if (opts && qemuopts_get(opts, "id")) {
        arguments = json_object();
        for (size_t i = 0; i < qemuopts_count(opts); i++)
            json_object_set_new(arguments, qemuopts_at(opts, i)->key,
                                json_string(qemuopts_at(opts, i)->value));
    }
    qemuopts_free(opts);
    return arguments;
}

json_t *config_given(const struct args *args, const json_t *devices)
{
    json_t *given = json_array();
    bool gone = false;

    for (size_t i = 0; args && i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);
        json_t *arguments = arg->row && arg->row->class == OPTION_DEVICE ? config_given_one(arg) : NULL;

        if (!arguments)
            continue;
        gone = gone || !json_object_get(devices, state_str(arguments, "id"));
        json_array_append_new(given, json_pack("{s:s, s:o}", "execute", "device_add", "arguments",
                                               arguments));
    }
    if (gone)
        return given;
    json_decref(given);
    return NULL;
}

/* Pins a device of the command line to its place. */
static void config_pin(json_t *now, const json_t *given, const json_t *place)
{
    const json_t *had = json_object_get(given, "arguments");
    json_t *placed = config_placed(given, place), *arguments = json_object(), *value;
    const char *key;

    json_object_set(arguments, "id", json_object_get(had, "id"));
    json_object_foreach(json_object_get(placed, "arguments"), key, value)
        if (!json_object_get(had, key))
            json_object_set(arguments, key, value);
    if (json_object_size(arguments) > 1)
        json_array_append_new(now, json_pack("{s:s, s:O}", "execute", CONFIG_PLACE, "arguments",
                                             arguments));
    json_decref(arguments);
    json_decref(placed);
}

/* Devices of the command line that have gone, and the places of the others. */
static void config_note_gone(json_t *now, const struct args *args, const json_t *devices,
                             const json_t *places)
{
    json_t *given = config_given(args, devices), *one;
    size_t i;

    json_array_foreach(given, i, one) {
        const char *id = config_device(one);
        bool listed = false;

        for (size_t k = 0; k < json_array_size(now); k++)
            listed = listed || config_names(json_array_get(now, k), "device_del", "id", id) ||
                     config_names(json_array_get(now, k), "device_add", "id", id);
        if (!listed && json_object_get(devices, id))
            config_pin(now, one, json_object_get(places, id));
        else if (!listed)
            json_array_append_new(now, json_pack("{s:s, s:{s:s}}", "execute", "device_del",
                                                 "arguments", "id", id));
    }
    json_decref(given);
}

json_t *config_now(const json_t *config, const struct args *args, const json_t *devices,
                   const json_t *places)
{
    json_t *now = json_array(), *command;
    size_t i;

    json_array_foreach((json_t *)config, i, command) {
        const char *id = config_device(command);

        if (strcmp(state_str(command, "execute"), CONFIG_PLACE) == 0 && devices)
            continue; /* told anew */
        if (!id)
            json_array_append(now, command);
        else if (!devices || json_object_get(devices, id))
            json_array_append_new(now, config_placed(command, json_object_get(places, id)));
    }
    if (devices)
        config_note_gone(now, args, devices, places);
    return now;
}
