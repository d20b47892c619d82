/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitors and the process options of args.h: what the proxy takes over from QEMU. */
#include "policy/args.h"

#include "policy/args_chardev.h"
#include "policy/args_internal.h"
#include "policy/args_util.h"
#include "policy/qemuopts.h"
#include "policy/reason.h"

#include <stdlib.h>
#include <string.h>

static void monitor_clear(struct args_monitor *monitor)
{
    free(monitor->path);
    free(monitor->host);
    free(monitor->port);
    free(monitor->id);
}

void args_monitors_clear(struct args_monitors *monitors)
{
    for (size_t i = 0; i < monitors->n; i++)
        monitor_clear(&monitors->v[i]);
    free(monitors->v);
    *monitors = (struct args_monitors)ARGS_MONITORS_INIT;
}

/* Keys that change nothing that a client of the proxy could see, or that are taken over. */
static bool socket_keys_ok(const struct qemuopts *opts, struct err *err)
{
    static const char *const known[] = { "backend", "id", "path", "host", "port", "fd", "server",
        "wait", "delay", "nodelay", "ipv4", "ipv6", "reconnect", "reconnect-ms", "abstract",
        "tight", "signal", NULL };

    for (size_t i = 0; i < qemuopts_count(opts); i++) {
        const struct qemuopt *item = qemuopts_at(opts, i);
        static const char *const off[] = { "off", "no", "false", "n", NULL };

        if (args_util_listed(item->key, known) || args_util_listed(item->value, off))
            continue;
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "the proxy cannot take over a QMP monitor with "
                "%s=%s: it listens on plain sockets and on standard input only", item->key,
                item->value);
        err_name(err, "argument", item->key);
        return false;
    }
    return true;
}

static unsigned reconnect_ms(const struct qemuopts *opts)
{
    const char *ms = qemuopts_get(opts, "reconnect-ms");
    const char *s = qemuopts_get(opts, "reconnect");

    if (ms)
        return (unsigned)strtoul(ms, NULL, 10);
    return s ? 1000 * (unsigned)strtoul(s, NULL, 10) : 0;
}

static bool socket_address(const struct qemuopts *opts, struct args_monitor *out, struct err *err)
{
    const char *fd = qemuopts_get(opts, "fd");
    const char *path = qemuopts_get(opts, "path");
    const char *port = qemuopts_get(opts, "port");
    char *end = NULL;

    if (fd) {
        out->kind = out->server ? ARGS_MONITOR_FD_LISTEN : ARGS_MONITOR_FD_CONNECTED;
        out->fd = (int)strtoul(fd, &end, 10);
        if (*fd && !*end)
            return true;
    } else if (path) {
        out->kind = out->server ? ARGS_MONITOR_UNIX_LISTEN : ARGS_MONITOR_UNIX_CONNECT;
        out->path = args_util_dup(path);
        out->abstract = qemuopts_get_bool(opts, "abstract", false);
        out->tight = qemuopts_get_bool(opts, "tight", true);
        return true;
    } else if (port) {
        const char *host = qemuopts_get(opts, "host");

        out->kind = out->server ? ARGS_MONITOR_TCP_LISTEN : ARGS_MONITOR_TCP_CONNECT;
        out->host = args_util_dup(host ? host : "");
        out->port = args_util_dup(port);
        return true;
    }
    err_set(err, REASON_UNSUPPORTED_ARGUMENT, "the socket of monitor '%s' has no path=, port= or "
            "fd= that is a number", out->id);
    return false;
}

static bool monitor_from(const struct qemuopts *opts, bool pretty, struct args_monitor *out,
                         struct err *err)
{
    const char *backend = qemuopts_get(opts, "backend");
    const char *id = qemuopts_get(opts, "id");

    *out = (struct args_monitor){ .fd = -1, .pretty = pretty };
    out->id = args_util_dup(id ? id : "");
    if (!socket_keys_ok(opts, err))
        return false;
    if (args_util_same(backend, "stdio")) {
        out->kind = ARGS_MONITOR_STDIO;
        return true;
    }
    if (!args_util_same(backend, "socket")) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "the proxy cannot take over a QMP monitor on a "
                "'%s' backend: use a socket or stdio", backend ? backend : "");
        err_name(err, "argument", out->id);
        return false;
    }
    out->server = qemuopts_get_bool(opts, "server", false);
    out->wait = out->server && qemuopts_get_bool(opts, "wait", true);
    out->reconnect_ms = reconnect_ms(opts);
    return socket_address(opts, out, err);
}

/* Reads the -chardev of that id and marks it as taken. */
static struct qemuopts *chardev_take(const struct args *args, const char *id, bool *taken,
                                     struct err *err)
{
    size_t at = args_chardev_find(args, id);
    size_t users = 0;

    if (at == args_count(args)) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "a QMP monitor names the chardev '%s', and no "
                "-chardev has that id", id);
        return NULL;
    }
    args_chardev_used(args, id, &users);
    if (users > 1) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "the chardev '%s' of a QMP monitor is used by "
                "another option too: give the monitor one of its own", id);
        err_name(err, "argument", id);
        return NULL;
    }
    taken[at] = true;
    return qemuopts_parse(args_at(args, at)->value, "backend", err);
}

/* One monitor option.  QMP: fills *out and sets *is_qmp.  index counts QEMU's compat_monitorN. */
static bool monitor_read(const struct args *args, size_t i, unsigned *index, bool *taken,
                         struct args_monitor *out, bool *is_qmp, struct err *err)
{
    const struct arg *arg = args_at(args, i);
    bool qmp = strncmp(arg->name, "qmp", 3) == 0;
    bool pretty = strcmp(arg->name, "qmp-pretty") == 0;
    struct qemuopts *opts = NULL;
    const char *id;
    bool ok;

    *is_qmp = false;
    if (strcmp(arg->name, "mon") == 0) {
        struct qemuopts *mon = qemuopts_parse(arg->value, "chardev", err);

        if (!mon)
            return false;
        qmp = args_util_same(qemuopts_get(mon, "mode"), "control");
        pretty = qemuopts_get_bool(mon, "pretty", false);
        if (qmp)
            opts = chardev_take(args, qemuopts_get(mon, "chardev") ?: "", taken, err);
        qemuopts_free(mon);
    } else if (qmp && args_util_prefix(arg->value, "chardev:", &id)) {
        opts = chardev_take(args, id, taken, err);
        ++*index;
    } else {
        ARGS_AUTO_TEXT label = args_util_format("compat_monitor%u", *index);

        /* QEMU counts -monitor as well, all but "none" (system/vl.c: monitor_parse). */
        if (qmp || !args_util_prefix(arg->value, "none", NULL))
            ++*index;
        opts = qmp ? args_chardev_short(arg->value, label, err) : NULL;
    }
    if (!qmp)
        return true;
    if (!opts)
        return false;
    *is_qmp = true;
    taken[i] = true;
    ok = monitor_from(opts, pretty, out, err);
    qemuopts_free(opts);
    return ok;
}

bool args_take_monitors(struct args *args, struct args_monitors *out, struct err *err)
{
    bool *taken = args_util_grow(NULL, args->n, sizeof(*taken));
    unsigned index = 0;
    bool ok = true;

    memset(taken, 0, args->n * sizeof(*taken));
    for (size_t i = 0; ok && i < args->n; i++) {
        struct args_monitor monitor = { .fd = -1 };
        bool is_qmp = false;

        if (!args->v[i].row || args->v[i].row->class != OPTION_MONITOR)
            continue;
        ok = monitor_read(args, i, &index, taken, &monitor, &is_qmp, err);
        if (ok && is_qmp) {
            out->v = args_util_grow(out->v, out->n + 1, sizeof(*out->v));
            out->v[out->n++] = monitor;
        } else {
            monitor_clear(&monitor);
        }
    }
    /* Only now, from the end: an error leaves the arguments whole, and positions stay valid. */
    for (size_t i = args->n; ok && i > 0; i--) {
        if (taken[i - 1])
            args_remove(args, i - 1);
    }
    if (!ok)
        args_monitors_clear(out);
    free(taken);
    return ok;
}

/* ---- what QEMU would have had without any monitor option ---- */

/* system/vl.c: default_list; a -device of one of these drivers is instead of the default port. */
bool args_serial_is_default(const struct args *args)
{
    for (size_t i = 0; i < args->n; i++) {
        const struct arg *arg = &args->v[i];

        if (!arg->row)
            continue;
        if (strcmp(arg->name, "serial") == 0)
            return false;
        if (arg->row->class == OPTION_DEVICE) {
            struct err err = ERR_INIT;
            struct qemuopts *opts = qemuopts_parse(arg->value, "driver", &err);
            const char *driver = opts ? qemuopts_get(opts, "driver") : NULL;
            bool instead = args_util_same(driver, "isa-serial") ||
                           args_util_same(driver, "xen-console");

            err_clear(&err);
            qemuopts_free(opts);
            if (instead)
                return false;
        }
    }
    return true;
}

void args_add_default_monitor(struct args *args)
{
    const char *display = args_value(args, "display");

    if (args->had_monitor || args_has(args, "nodefaults"))
        return;
    args->had_monitor = true;
    /* With its serial port on the terminal -nographic muxes the monitor into it. */
    if (args_has(args, "nographic")) {
        if (args_serial_is_default(args))
            args_append(args, "-serial", "mon:stdio");
        else
            args_append(args, "-monitor", "stdio");
    } else if (display && (args_util_prefix(display, "dbus", NULL) ||
                           args_util_prefix(display, "spice-app", NULL))) {
        args_append(args, "-monitor", "vc");
    } else {
        args_append(args, "-monitor", "vc:80Cx24C");
    }
}

void args_take_daemonize(struct args *args, struct args_daemonize *out)
{
    *out = (struct args_daemonize){ .daemonize = false };
    for (size_t i = args->n; i > 0; i--) {
        const struct arg *arg = &args->v[i - 1];

        if (!arg->row || arg->row->class != OPTION_PROCESS)
            continue;
        if (strcmp(arg->name, "daemonize") == 0)
            out->daemonize = true;
        else if (!out->pidfile)     /* the last one counts, and comes first here */
            out->pidfile = args_util_dup(arg->value);
        args_remove(args, i - 1);
    }
}
