/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_late.h"

#include "policy/args_late_internal.h"
#include "policy/args_util.h"
#include "policy/reason.h"

#include <stdlib.h>
#include <string.h>

bool args_late_refuse(const struct arg *arg, struct err *err, const char *why)
{
    const char *name = arg->word ? arg->word : arg->value;

    err_set(err, REASON_NEEDS_REPLACE, "%s%s%s cannot be held by two QEMU processes at once: %s; with "
            "method: replace the first one ends before the second starts", name, arg->word && arg->value ? " " : "",
            arg->word && arg->value ? arg->value : "", why);
    err_name(err, "argument", name);
    return false;
}

void args_late_command(struct args_late *late, const char *command, json_t *arguments)
{
    json_array_append_new(late->commands,
                          json_pack("{s:s, s:o}", "execute", command, "arguments", arguments));
}

void args_late_hmp(struct args_late *late, const char *line)
{
    args_late_command(late, "human-monitor-command", json_pack("{s:s}", "command-line", line));
}

void args_late_replace(struct args_late *late, size_t i, const struct qemuopts *opts)
{
    ARGS_AUTO_TEXT word = args_util_dup(args_at(late->args, i)->word);
    ARGS_AUTO_TEXT text = qemuopts_render(opts);

    args_replace(late->args, i, word, text);
}

/* ---- -gdb and -s: the debugger's port, opened by HMP later ---- */

static bool late_gdb(struct args_late *late, size_t i, bool *removed, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    const char *device = arg->value ? arg->value : "tcp::1234";
    ARGS_AUTO_TEXT line = args_util_format("gdbserver %s", device);

    /* These open nothing that the first process has. */
    if (strcmp(device, "none") == 0 || strcmp(device, "null") == 0 ||
        strcmp(device, "stdio") == 0 || strcmp(device, "pty") == 0)
        return true;
    /* The chardev's own option is looked at for itself. */
    if (args_util_prefix(device, "chardev:", NULL))
        return true;
    if (strpbrk(device, " \"\\"))
        return args_late_refuse(arg, err, "the debugger's connection");
    args_late_hmp(late, line);
    args_remove(late->args, i);
    *removed = true;
    return true;
}

/* ---- -D: the log, which QEMU empties when it opens it (7.2 appends to its second one) ---- */

static bool late_log(struct args_late *late, size_t i, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    ARGS_AUTO_TEXT line = args_util_format("logfile %s", arg->value);
    ARGS_AUTO_TEXT word = args_util_dup(arg->word);

    /* %d is the process's number: each has its own. */
    if (strstr(arg->value, "%d"))
        return true;
    if (strpbrk(arg->value, " \"\\"))
        return args_late_refuse(arg, err, "its log's name has blanks or quotes");
    args_late_hmp(late, line);
    args_replace(late->args, i, word, "/dev/null");
    return true;
}

/* ---- -vnc: started without an address, which display-update gives later ---- */

static json_t *vnc_inet(const char *text, const struct qemuopts *opts)
{
    const char *colon = strrchr(text, ':');
    bool bracket = *text == '[';
    size_t len = colon ? (size_t)(colon - text) : 0;
    ARGS_AUTO_TEXT host = colon ? args_util_ndup(text + bracket, len - 2 * bracket) : NULL;
    const char *to = qemuopts_get(opts, "to");
    ARGS_AUTO_TEXT port = NULL;
    unsigned display = 0;
    json_t *address;

    if (!colon || colon[1] == '\0' || (bracket && len < 2))
        return NULL;
    for (const char *c = colon + 1; *c; c++) {
        if (*c < '0' || *c > '9' || display > 60000)
            return NULL;
        display = 10 * display + (unsigned)(*c - '0');
    }
    /* -vnc counts displays, display-update ports; "to" as well (ui/vnc.c). */
    port = args_util_format("%u", 5900 + display);
    address = json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host, "port", port);
    if (to)
        json_object_set_new(address, "to", json_integer(5900 + atoi(to)));
    for (int v = 4; v <= 6; v += 2) {
        const char *key = v == 4 ? "ipv4" : "ipv6";

        if (qemuopts_get(opts, key))
            json_object_set_new(address, key,
                                json_boolean(qemuopts_get_bool(opts, key, true)));
    }
    return address;
}

/* What is left of the option opens nothing; passwords, TLS and the like stay in force (tried). */
static void vnc_unbind(struct args_late *late, size_t i, struct qemuopts *opts)
{
    static const char *const bound[] = { "to", "ipv4", "ipv6", NULL };
    ARGS_AUTO_TEXT text = NULL;
    ARGS_AUTO_TEXT value = NULL;

    for (size_t k = 0; bound[k]; k++)
        qemuopts_remove(opts, bound[k]);
    qemuopts_remove(opts, "vnc");
    text = qemuopts_render(opts);
    value = args_util_format("none%s%s", *text ? "," : "", text);
    args_replace(late->args, i, "-vnc", value);
}

bool args_late_vnc(struct args_late *late, size_t i, const char *value, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    struct qemuopts *opts = qemuopts_parse(value, "vnc", err);
    json_t *address = NULL;
    const char *place;
    const char *path;
    bool ok = true;

    if (!opts)
        return false;
    place = qemuopts_get(opts, "vnc") ?: "";
    if (strcmp(place, "none") == 0) {
        qemuopts_free(opts);
        return true;
    }
    if (late->vncs++)
        ok = args_late_refuse(arg, err, "only one VNC display can be bound later");
    else if (qemuopts_get(opts, "websocket") || qemuopts_get_bool(opts, "reverse", false))
        ok = args_late_refuse(arg, err, "its websocket or reverse connection cannot be made later");
    else if (args_util_prefix(place, "unix:", &path))
        address = json_pack("{s:s, s:s}", "type", "unix", "path", path);
    else
        address = vnc_inet(place, opts);
    if (ok && !address)
        ok = args_late_refuse(arg, err, "its address is not HOST:NUMBER or unix:PATH");
    if (ok) {
        args_late_command(late, "display-update",
                          json_pack("{s:s, s:[o]}", "type", "vnc", "addresses", address));
        vnc_unbind(late, i, opts);
    }
    qemuopts_free(opts);
    return ok;
}

static bool late_display(struct args_late *late, size_t i, struct err *err)
{
    static const char *const alone[] = { "dbus", "spice-app", "curses", NULL };
    const struct arg *arg = args_at(late->args, i);
    size_t len = strcspn(arg->value, ",=");
    ARGS_AUTO_TEXT type = args_util_ndup(arg->value, len);

    if (strcmp(type, "vnc") == 0 && arg->value[len] == '=')
        return args_late_vnc(late, i, arg->value + len + 1, err);
    if (args_util_listed(type, alone))
        return args_late_refuse(arg, err, "the display is one process's");
    return true;
}

/* ---- all options ---- */

/* -trace and -audiodev: is a file written from its beginning? */
static bool late_file(const struct arg *arg, bool trace, struct err *err)
{
    struct qemuopts *opts = qemuopts_parse(arg->value, trace ? "enable" : "driver", err);
    bool empties;

    if (!opts)
        return false;
    empties = trace ? qemuopts_get(opts, "file") != NULL
                    : args_util_same(qemuopts_get(opts, "driver"), "wav");
    qemuopts_free(opts);
    return !empties || args_late_refuse(arg, err, "the second would empty the file that the first "
                                        "one is writing");
}

static bool late_plain(const struct arg *arg, struct err *err)
{
    bool trace = strcmp(arg->name, "trace") == 0;

    if (trace || strcmp(arg->name, "audiodev") == 0)
        return late_file(arg, trace, err);
    if (strcmp(arg->name, "usbdevice") == 0 && args_util_prefix(arg->value, "braille", NULL))
        return args_late_refuse(arg, err, "the braille display is one process's");
    if ((strcmp(arg->name, "fsdev") == 0 || strcmp(arg->name, "virtfs") == 0) &&
        args_util_prefix(arg->value, "proxy", NULL))
        return args_late_refuse(arg, err, "the helper serves one connection");
    return true;
}

/* What is to be said over QMP must be UTF-8. */
static bool can_say(const struct arg *arg, struct err *err)
{
    json_t *text = arg->value ? json_string(arg->value) : json_null();

    json_decref(text);
    return text || args_late_refuse(arg, err, "it is not UTF-8, so it cannot be said over QMP");
}

/* *step: how many options to go on by; 0 when the option is gone. */
static bool late_one(struct args_late *late, size_t i, size_t *step, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    bool removed = false;
    size_t inserted = 0;
    bool ok = true;

    if (!arg->row)
        return arg->image || args_late_refuse(arg, err, "it is not known what it holds");
    if (arg->row->class >= OPTION_NET && arg->row->class <= OPTION_GDB && !can_say(arg, err))
        return false;
    switch (arg->row->class) {
    case OPTION_NET:
        ok = args_late_net(late, i, err);
        break;
    case OPTION_CHARDEV:
        ok = args_late_chardev(late, i, err);
        break;
    case OPTION_CHARDEV_USER:
    case OPTION_MONITOR:
        ok = args_late_short(late, i, &inserted, err);
        break;
    case OPTION_VNC:
        ok = args_late_vnc(late, i, arg->value, err);
        break;
    case OPTION_DISPLAY:
        ok = late_display(late, i, err);
        break;
    case OPTION_LOG:
        ok = late_log(late, i, err);
        break;
    case OPTION_GDB:
        ok = late_gdb(late, i, &removed, err);
        break;
    case OPTION_DEVICE:
        ok = args_late_device(arg, err);
        break;
    case OPTION_OBJECT:
        ok = args_late_object(arg, err);
        break;
    case OPTION_PLAIN:
        ok = late_plain(arg, err);
        break;
    case OPTION_EXCLUSIVE:
    case OPTION_PROCESS:
        ok = args_late_refuse(arg, err, "it belongs to one process");
        break;
    default:
        break;
    }
    *step = removed ? 0 : 1 + inserted;
    return ok;
}

/* The proxy's own monitor leaves -nographic with a serial port on the terminal and no mux. */
static void say_default_serial(struct args *args)
{
    if (args_has(args, "nographic") && !args_has(args, "nodefaults") &&
        args_serial_is_default(args))
        args_append(args, "-serial", "stdio");
}

/* Whether the command needs rights that a process which changed its user has no more. */
static bool needs_rights(const json_t *command)
{
    const json_t *backend = json_object_get(json_object_get(command, "arguments"), "backend");

    return !args_util_same(json_string_value(json_object_get(backend, "type")), "stdio");
}

/* -runas takes effect before the late commands do: they would not find what QEMU finds at start. */
static bool check_user(const struct args *args, const json_t *commands, struct err *err)
{
    json_t *command;
    size_t k;

    for (size_t i = 0; i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);

        if (!arg->row || (strcmp(arg->name, "runas") != 0 &&
                          (strcmp(arg->name, "run-with") != 0 || !strstr(arg->value, "user="))))
            continue;
        json_array_foreach(commands, k, command) {
            if (needs_rights(command))
                return args_late_refuse(arg, err, "sockets, ports or logs would be bound later, "
                                        "without the rights that QEMU has at its start");
        }
    }
    return true;
}

bool args_late_apply(struct args *args, const char *prefix, json_t *commands, struct err *err)
{
    struct args_late late = { .args = args, .prefix = prefix, .commands = commands };
    size_t step = 1;

    say_default_serial(args);
    for (size_t i = 0; i < args_count(args); i += step) {
        step = 1;
        if (!late_one(&late, i, &step, err))
            return false;
    }
    return check_user(args, commands, err);
}

void args_late_keep(struct args *args)
{
    struct args_late late = { .args = args, .keep = true };
    size_t inserted;

    for (size_t i = 0; i < args_count(args); i += 1 + inserted) {
        const struct arg *arg = args_at(args, i);
        struct err err = ERR_INIT;

        inserted = 0;
        if (arg->row && arg->row->class == OPTION_CHARDEV)
            args_late_chardev(&late, i, &err);
        else if (arg->row && (arg->row->class == OPTION_CHARDEV_USER || arg->row->class == OPTION_MONITOR))
            args_late_short(&late, i, &inserted, &err);
        err_clear(&err); /* what is not understood stays as it is */
    }
}
