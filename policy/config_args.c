/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/config_args.h"

#include <string.h>

#include "policy/args_util.h"
#include "policy/config.h"
#include "policy/config_chardev.h"
#include "policy/qemuopts.h"
#include "policy/qemuopts_json.h"
#include "policy/reason.h"
#include "policy/state.h"

static const struct config_row rows[] = {
    { "blockdev-add", CONFIG_ADD, "blockdev", "node-name" },
    { "blockdev-del", CONFIG_REMOVE, "blockdev", "node-name" },
    { "chardev-add", CONFIG_ADD, "chardev", "id" },
    { "chardev-change", CONFIG_CHANGE, "chardev", "id" },
    { "chardev-remove", CONFIG_REMOVE, "chardev", "id" },
    { "device_add", CONFIG_ADD, "device", "id" },
    { "device_del", CONFIG_REMOVE, "device", "id" },
    { "netdev_add", CONFIG_ADD, "netdev", "id" },
    { "netdev_del", CONFIG_REMOVE, "netdev", "id" },
    { "object-add", CONFIG_ADD, "object", "id" },
    { "object-del", CONFIG_REMOVE, "object", "id" },
};

const struct config_row *config_row_find(const char *command)
{
    for (size_t i = 0; command && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].command, command) == 0)
            return &rows[i];
    return NULL;
}

const struct config_row *config_row_adder(const struct config_row *row)
{
    const struct config_row *adder = rows;

    while (adder->deed != CONFIG_ADD || strcmp(adder->option, row->option) != 0)
        adder++; /* each kind has one */
    return adder;
}

/* The key that the first word of such an option belongs to. */
static const char *option_implied(const char *option)
{
    return strcmp(option, "netdev") == 0   ? "type"
           : strcmp(option, "object") == 0  ? "qom-type"
           : strcmp(option, "chardev") == 0 ? "backend" : "driver";
}

/* new: what the option says; NULL: it is none of that name, or cannot be read. */
static struct qemuopts *option_parse(const struct arg *arg, const char *option)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts;

    if (!arg->name || !arg->value || strcmp(arg->name, option) != 0)
        return NULL;
    opts = qemuopts_parse(arg->value, option_implied(option), &err);
    err_clear(&err);
    return opts;
}

size_t config_option_find(const struct args *args, const char *option, const char *id)
{
    const char *member = strcmp(option, "blockdev") == 0 ? "node-name" : "id";
    size_t i;

    for (i = 0; i < args_count(args); i++) {
        struct qemuopts *opts = option_parse(args_at(args, i), option);
        bool same = opts && args_util_same(qemuopts_get(opts, member), id);

        qemuopts_free(opts);
        if (same)
            break;
    }
    return i;
}

/* ---- what cannot be said ---- */

static bool config_refuse(const json_t *command, const char *why, struct err *err)
{
    const char *name = state_str(command, "execute");
    const json_t *arguments = json_object_get(command, "arguments");
    static const char *const members[] = { "id", "node-name", "path", "device", "name",
        "command-line", NULL };
    const char *id = NULL;

    for (size_t i = 0; !id && members[i]; i++)
        id = state_str(arguments, members[i]);
    err_set(err, REASON_CONFIGURATION_CHANGED, "The VM's configuration was changed over QMP by '%s'%s%s%s, "
            "which cannot be replayed: %s", name ? name : "?", id ? " of '" : "", id ? id : "",
            id ? "'" : "", why);
    err_name(err, "command", name);
    err_name(err, "id", id);
    return false;
}

static void note_descriptor(void *opaque, const char *key, const json_t *scalar)
{
    static const char *const keys[] = { "fd", "fds", "vhostfd", "vhostfds", "sockfd", NULL };
    const char *dot = strrchr(key, '.'), *text = json_string_value(scalar);
    bool *found = opaque;

    *found = *found || args_util_listed(dot ? dot + 1 : key, keys) ||
             (text && args_util_prefix(text, "/dev/fdset/", NULL));
}

static bool config_has_descriptor(const json_t *arguments)
{
    bool found = false;

    qemuopts_json_walk(arguments, note_descriptor, &found);
    return found;
}

/* ---- adding ---- */

static bool is_flat(const json_t *arguments)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)arguments, key, value)
        if (json_is_object(value) || json_is_array(value) || json_is_null(value))
            return false;
    return true;
}

/* Devices in JSON are made behind all others (system/vl.c, qemu_create_cli_devices): one in text must not
 * stand on one of them.  One without an id is called by its number, and has to be the last as well. */
static bool has_json_device(const struct args *args)
{
    for (size_t i = 0; i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);

        if (arg->name && strcmp(arg->name, "device") == 0 && arg->value && arg->value[0] == '{')
            return true;
    }
    return false;
}

static void set_members(struct qemuopts *opts, const json_t *flat)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)flat, key, value) {
        ARGS_AUTO_TEXT word = qemuopts_json_scalar(value);

        qemuopts_set(opts, key, word);
    }
}

/* new: driver first, as the text form wants it. */
static char *device_text(const json_t *arguments)
{
    struct qemuopts *opts = qemuopts_new();
    char *text;

    qemuopts_set(opts, "driver", state_str(arguments, "driver"));
    set_members(opts, arguments);
    text = qemuopts_render(opts);
    qemuopts_free(opts);
    return text;
}

/* new: the option's value; NULL: *why says why there is none. */
static char *config_value(const struct args *args, const struct config_row *row,
                          const json_t *arguments, bool typed, const char **why)
{
    struct qemuopts *opts;
    char *text;

    if (strcmp(row->option, "chardev") == 0) {
        opts = config_chardev(arguments, why);
        text = opts ? qemuopts_render(opts) : NULL;
        qemuopts_free(opts);
        return text;
    }
    if (strcmp(row->option, "device") == 0) {
        *why = "it names no driver";
        if (!state_str(arguments, "driver"))
            return NULL;
        if (!typed && state_str(arguments, "id") && is_flat(arguments) && !has_json_device(args))
            return device_text(arguments);
    }
    return qemuopts_json_dump(arguments);
}

/* The drive of a device that was taken out goes with it (blockdev.c, blockdev_auto_del). */
static void config_remove_drive(struct args *args, const char *drive)
{
    size_t at = drive ? config_option_find(args, "drive", drive) : args_count(args);

    if (at < args_count(args))
        args_remove(args, at);
}

static bool config_remove(struct args *args, const struct config_row *row, const char *id)
{
    size_t at = id ? config_option_find(args, row->option, id) : args_count(args);
    ARGS_AUTO_TEXT drive = NULL;
    struct qemuopts *opts;

    if (at == args_count(args))
        return false;
    opts = option_parse(args_at(args, at), row->option);
    drive = args_util_dup(qemuopts_get(opts, "drive"));
    qemuopts_free(opts);
    args_remove(args, at);
    if (strcmp(row->option, "device") == 0)
        config_remove_drive(args, drive);
    return true;
}

/* Adds members to a -device that is there. */
static void config_place(struct args *args, const json_t *arguments)
{
    const char *id = state_str(arguments, "id");
    size_t at = id ? config_option_find(args, "device", id) : args_count(args);
    struct err err = ERR_INIT;
    struct qemuopts *opts;
    json_t *root;
    ARGS_AUTO_TEXT text = NULL;

    if (at == args_count(args))
        return;
    if (args_at(args, at)->value[0] == '{') {
        root = qemuopts_json_load(args_at(args, at)->value, &err);
        json_object_update(root, (json_t *)arguments);
        text = qemuopts_json_dump(root);
        json_decref(root);
    } else {
        opts = option_parse(args_at(args, at), "device");
        set_members(opts, arguments);
        text = qemuopts_render(opts);
        qemuopts_free(opts);
    }
    args_replace(args, at, "-device", text);
}

static bool config_apply(struct args *args, const json_t *command, bool typed, struct err *err)
{
    const json_t *arguments = json_object_get(command, "arguments");
    const struct config_row *row = config_row_find(state_str(command, "execute"));
    const char *id = row ? state_str(arguments, row->member) : NULL;
    const char *why = "the command line cannot say it";
    ARGS_AUTO_TEXT word = NULL;
    ARGS_AUTO_TEXT value = NULL;

    if (config_is_late(command))
        return true;
    if (args_util_same(state_str(command, "execute"), CONFIG_PLACE)) {
        config_place(args, arguments);
        return true;
    }
    if (!row)
        return config_refuse(command, "it has no form on the command line", err);
    if (!json_is_object(arguments))
        return config_refuse(command, "its arguments cannot be read", err);
    if (row->deed == CONFIG_REMOVE)
        return config_remove(args, row, id) ||
               config_refuse(command, "what it took away is not on the command line by that name",
                             err);
    if (config_has_descriptor(arguments))
        return config_refuse(command, "it uses a descriptor that a client passed", err);
    if (row->deed == CONFIG_CHANGE && !config_remove(args, row, id))
        return config_refuse(command, "what it changed is not on the command line by that name", err);
    /* The same id may have been of a device of the command line that has gone. */
    if (row->deed == CONFIG_ADD && strcmp(row->option, "device") == 0)
        config_remove(args, row, id);
    value = config_value(args, row, arguments, typed, &why);
    if (!value)
        return config_refuse(command, why, err);
    word = args_util_format("-%s", row->option);
    args_append(args, word, value);
    return true;
}

struct args *config_args(const struct args *args, const json_t *config, bool typed, bool lenient,
                         struct err *err)
{
    struct args *copy = args_copy(args);
    json_t *command;
    size_t i;

    json_array_foreach((json_t *)config, i, command) {
        struct err mine = ERR_INIT;

        if (config_apply(copy, command, typed, &mine))
            continue;
        if (!lenient) {
            err_move(err, &mine);
            args_free(copy);
            return NULL;
        }
        err_clear(&mine);
    }
    return copy;
}

/* ---- over QMP ---- */

bool config_is_late(const json_t *command)
{
    const char *name = state_str(command, "execute");
    const char *line = state_str(json_object_get(command, "arguments"), "command-line");

    if (!name || !json_is_object(json_object_get(command, "arguments")))
        return false;
    if (strcmp(name, "human-monitor-command") == 0 && line)
        return args_util_prefix(line, "hostfwd_add ", NULL) ||
               args_util_prefix(line, "hostfwd_remove ", NULL);
    return strcmp(name, "block_set_io_throttle") == 0;
}

void config_late(const json_t *config, json_t *late)
{
    json_t *command;
    size_t i;

    json_array_foreach((json_t *)config, i, command)
        if (config_is_late(command))
            json_array_append(late, command);
}
