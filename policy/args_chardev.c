/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_chardev.h"

#include "policy/args_util.h"
#include "policy/reason.h"

#include <stdlib.h>
#include <string.h>

/* Puts "k=v,k=v" after a ',' into opts, in order. */
static bool add_options(struct qemuopts *opts, const char *text, const char *implied,
                        struct err *err)
{
    struct qemuopts *more = qemuopts_parse(text, implied, err);

    if (!more)
        return false;
    for (size_t i = 0; i < qemuopts_count(more); i++)
        qemuopts_set(opts, qemuopts_at(more, i)->key, qemuopts_at(more, i)->value);
    qemuopts_free(more);
    return true;
}

/* HOST:PORT up to one of the stop characters; HOST may stand in [].  Returns the rest, or NULL. */
static const char *add_host_port(struct qemuopts *opts, const char *text, const char *stop,
                                 const char *host_key, const char *port_key)
{
    size_t host = *text == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":,@");
    const char *port;
    size_t len;
    ARGS_AUTO_TEXT host_text = NULL;
    ARGS_AUTO_TEXT port_text = NULL;

    if (strlen(text) <= host || text[host] != ':')
        return NULL;
    port = text + host + 1;
    len = strcspn(port, stop);
    if (len == 0)
        return NULL;
    host_text = *text == '[' ? args_util_ndup(text + 1, host - 2) : args_util_ndup(text, host);
    port_text = args_util_ndup(port, len);
    qemuopts_set(opts, host_key, host_text);
    qemuopts_set(opts, port_key, port_text);
    return port + len;
}

static bool short_tcp(struct qemuopts *opts, const char *kind, const char *text, struct err *err)
{
    const char *rest = add_host_port(opts, text, ",", "host", "port");

    qemuopts_set(opts, "backend", "socket");
    if (!rest) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "%s:%s is no HOST:PORT", kind, text);
        return false;
    }
    if (strcmp(kind, "tcp") != 0)
        qemuopts_set(opts, kind, "on");
    return *rest != ',' || add_options(opts, rest + 1, NULL, err);
}

static bool short_udp(struct qemuopts *opts, const char *text, struct err *err)
{
    const char *rest = add_host_port(opts, text, ",@", "host", "port");

    qemuopts_set(opts, "backend", "udp");
    if (rest && *rest == '@')
        rest = add_host_port(opts, rest + 1, ",", "localaddr", "localport");
    if (!rest) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "udp:%s is no HOST:PORT[@HOST:PORT]", text);
        return false;
    }
    return *rest != ',' || add_options(opts, rest + 1, NULL, err);
}

static bool short_path(struct qemuopts *opts, const char *backend, const char *path)
{
    qemuopts_set(opts, "backend", backend);
    qemuopts_set(opts, "path", path);
    return true;
}

static bool short_backend(struct qemuopts *opts, const char *text, struct err *err)
{
    static const char *const plain[] = { "null", "pty", "msmouse", "wctablet", "braille",
                                         "testdev", "stdio", "vc", NULL };
    static const char *const streams[] = { "tcp", "telnet", "tn3270", "websocket", NULL };
    const char *rest;

    if (args_util_listed(text, plain) || args_util_prefix(text, "vc:", NULL)) {
        qemuopts_set(opts, "backend", args_util_prefix(text, "vc:", NULL) ? "vc" : text);
        return true;
    }
    if (args_util_prefix(text, "file:", &rest))
        return short_path(opts, "file", rest);
    if (args_util_prefix(text, "pipe:", &rest))
        return short_path(opts, "pipe", rest);
    if (args_util_prefix(text, "pty:", &rest))
        return short_path(opts, "pty", rest);
    if (args_util_prefix(text, "unix:", &rest)) {
        qemuopts_set(opts, "backend", "socket");
        return add_options(opts, rest, "path", err);
    }
    if (args_util_prefix(text, "udp:", &rest))
        return short_udp(opts, rest, err);
    for (size_t i = 0; streams[i]; i++) {
        if (args_util_prefix(text, streams[i], &rest) && *rest == ':')
            return short_tcp(opts, streams[i], rest + 1, err);
    }
    if (args_util_prefix(text, "/dev/parport", NULL))
        return short_path(opts, "parallel", text);
    if (args_util_prefix(text, "/dev/", NULL))
        return short_path(opts, "serial", text);
    err_set(err, REASON_UNSUPPORTED_ARGUMENT, "'%s' is no character backend that is understood",
            text);
    return false;
}

struct qemuopts *args_chardev_short(const char *text, const char *id, struct err *err)
{
    struct qemuopts *opts = qemuopts_new();

    qemuopts_set(opts, "backend", "");
    qemuopts_set(opts, "id", id);
    if (args_util_prefix(text, "mon:", &text)) {
        qemuopts_set(opts, "mux", "on");
        /* Ctrl-C is for the guest then, as chardev/char.c does it. */
        if (strcmp(text, "stdio") == 0)
            qemuopts_set(opts, "signal", "off");
    }
    if (!short_backend(opts, text, err)) {
        qemuopts_free(opts);
        return NULL;
    }
    return opts;
}

size_t args_chardev_find(const struct args *args, const char *id)
{
    for (size_t i = 0; i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);
        struct err err = ERR_INIT;
        struct qemuopts *opts;
        bool found;

        if (!arg->row || arg->row->class != OPTION_CHARDEV)
            continue;
        opts = qemuopts_parse(arg->value, "backend", &err);
        err_clear(&err);
        found = opts && args_util_same(qemuopts_get(opts, "id"), id);
        qemuopts_free(opts);
        if (found)
            return i;
    }
    return args_count(args);
}

static const char *implied_key(const struct arg *arg)
{
    if (strcmp(arg->name, "mon") == 0)
        return "chardev";
    return arg->row->class == OPTION_DEVICE ? "driver" : "type";
}

/* chardev=, chardev1=, guestfwd=...-chardev:ID; network filters use indev=, primary_in= and more,
 * so that any value of an -object counts. */
static bool item_names(const struct arg *arg, const struct qemuopt *item, const char *id)
{
    const char *guestfwd = strstr(item->value, "-chardev:");

    if (arg->row->class == OPTION_NET && guestfwd)
        return strcmp(guestfwd + strlen("-chardev:"), id) == 0;
    if (strcmp(item->value, id) != 0 || strcmp(item->key, "id") == 0)
        return false;
    return arg->row->class == OPTION_OBJECT || strstr(item->key, "chardev");
}

/* How many keys of one option name the chardev; *serial is set when it is a serial port's. */
static size_t option_names(const struct arg *arg, const char *id, bool *serial)
{
    static const char *const ports[] = { "isa-serial", "pci-serial", NULL };
    struct err err = ERR_INIT;
    struct qemuopts *opts;
    const char *driver;
    size_t n = 0;

    if (!arg->row || !arg->value)
        return 0;
    if (arg->row->class == OPTION_CHARDEV_USER || arg->row->class == OPTION_MONITOR ||
        arg->row->class == OPTION_GDB) {
        const char *rest;

        if (args_util_prefix(arg->value, "chardev:", &rest)) {
            *serial = strcmp(arg->name, "serial") == 0;
            return strcmp(rest, id) == 0;
        }
        if (strcmp(arg->name, "mon") != 0)
            return 0;
    }
    if (arg->row->class == OPTION_CHARDEV)
        return 0;
    opts = qemuopts_parse(arg->value, implied_key(arg), &err);
    err_clear(&err);
    if (!opts)
        return 0;
    for (size_t i = 0; i < qemuopts_count(opts); i++) {
        const struct qemuopt *item = qemuopts_at(opts, i);

        if (item_names(arg, item, id))
            n++;
    }
    driver = qemuopts_get(opts, "driver");
    /* Only these take chardev-change; they are what -serial makes on x86, too. */
    *serial = n == 1 && arg->row->class == OPTION_DEVICE && driver &&
              args_util_listed(driver, ports);
    qemuopts_free(opts);
    return n;
}

enum args_chardev_use args_chardev_used(const struct args *args, const char *id, size_t *users)
{
    bool all_serial = true;
    size_t n = 0;

    for (size_t i = 0; i < args_count(args); i++) {
        bool serial = false;
        size_t found = option_names(args_at(args, i), id, &serial);

        if (found && !serial)
            all_serial = false;
        n += found;
    }
    if (users)
        *users = n;
    /* Two users need a mux, and a mux cannot be changed. */
    if (n == 0)
        return ARGS_CHARDEV_UNUSED;
    return n == 1 && all_serial ? ARGS_CHARDEV_SERIAL : ARGS_CHARDEV_OTHER;
}
