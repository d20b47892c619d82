/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Late binding of character devices.
 *
 * A serial port takes chardev-change from null to its real backend; so does a chardev that nobody
 * uses.  Every other user refuses it on 7.2 and 10.0 in a stopped guest ("does not support chardev
 * hotswap"; tried with virtconsole, virtserialport, usb-serial, parallel, debugcon, monitors).  For
 * those a listening unix socket is made under a private name and moved into place later; all else
 * needs the first process to end first.
 */
#include "policy/args_chardev.h"
#include "policy/args_late_internal.h"
#include "policy/args_util.h"

#include <string.h>

#define SUN_PATH_MAX 108        /* sockaddr_un.sun_path, the final NUL included */

enum sharing { SHARING_FREE, SHARING_APPEND, SHARING_BIND, SHARING_NEVER };

static enum sharing sharing_of(const struct qemuopts *opts)
{
    static const char *const freely[] = { "null", "vc", "ringbuf", "memory", "msmouse", "wctablet",
        "testdev", "stdio", "qemu-vdagent", "mux", "hub", NULL };
    static const char *const bind[] = { "socket", "udp", "pipe", "serial", "tty", "parallel",
        "parport", NULL };
    const char *backend = qemuopts_get(opts, "backend") ?: "";

    if (args_util_listed(backend, freely))
        return SHARING_FREE;
    if (strcmp(backend, "pty") == 0)
        return qemuopts_get(opts, "path") ? SHARING_NEVER : SHARING_FREE;
    if (strcmp(backend, "file") == 0)
        return SHARING_APPEND;
    return args_util_listed(backend, bind) ? SHARING_BIND : SHARING_NEVER;
}

/* A listening unix socket under another name; false when it is none, or there is no room. */
static bool bind_aside(struct args_late *late, struct qemuopts *opts)
{
    const char *path = qemuopts_get(opts, "path");
    ARGS_AUTO_TEXT aside = NULL;

    if (!late->prefix || !path || qemuopts_get(opts, "fd") ||
        !args_util_same(qemuopts_get(opts, "backend"), "socket") ||
        !qemuopts_get_bool(opts, "server", false) || qemuopts_get_bool(opts, "abstract", false))
        return false;
    aside = args_util_format("%s%u", late->prefix, late->made++);
    if (strlen(aside) >= SUN_PATH_MAX)
        return false;
    json_array_append_new(late->commands, json_pack("{s:{s:s, s:s}}", "rename", "from", aside,
                                                    "to", path));
    qemuopts_set(opts, "path", aside);
    /* Nobody comes before the switch: waiting for a client would stop the new process for ever. */
    qemuopts_set_bool(opts, "wait", false);
    return true;
}

static void log_append(struct qemuopts *opts)
{
    if (qemuopts_get(opts, "logfile"))
        qemuopts_set_bool(opts, "logappend", true);
}

/* Notes the change to the real backend (steals it), frees opts; new: the null backend till then. */
static struct qemuopts *bind_later(struct args_late *late, struct qemuopts *opts, json_t *backend)
{
    struct qemuopts *null = qemuopts_new();
    const char *id = qemuopts_get(opts, "id") ?: "";

    qemuopts_set(null, "backend", "null");
    qemuopts_set(null, "id", id);
    args_late_command(late, "chardev-change",
                      json_pack("{s:s, s:o}", "id", id, "backend", backend));
    qemuopts_free(opts);
    return null;
}

/* Changes -chardev's keys to what the second process may open at once, and notes what comes later.
 * *changed: whether *opts differs now. */
static bool prepare(struct args_late *late, const struct arg *arg, struct qemuopts **opts,
                    enum args_chardev_use use, bool *changed, struct err *err)
{
    enum sharing sharing = sharing_of(*opts);
    bool mux = qemuopts_get_bool(*opts, "mux", false);
    bool changes = use != ARGS_CHARDEV_OTHER && !mux;
    json_t *backend;

    /* Where it cannot be given later (a monitor, a mux), both have the terminal until the switch: the
     * second process says nothing while it waits, but may get what is typed in that moment. */
    if (changes && args_util_same(qemuopts_get(*opts, "backend"), "stdio"))
        sharing = SHARING_BIND;

    if (late->keep && sharing != SHARING_APPEND)
        sharing = SHARING_FREE;
    *changed = sharing != SHARING_FREE || qemuopts_get(*opts, "logfile");
    log_append(*opts);
    if (sharing == SHARING_FREE)
        return true;
    if (sharing == SHARING_APPEND) {
        /* Else the second process would truncate what the first has written. */
        qemuopts_set_bool(*opts, "append", true);
        return true;
    }
    if (sharing == SHARING_NEVER)
        return args_late_refuse(arg, err, "its character backend is one process's");
    if (changes && (backend = args_late_backend(*opts))) {
        *opts = bind_later(late, *opts, backend);
        return true;
    }
    if (bind_aside(late, *opts))
        return true;
    return args_late_refuse(arg, err, "what uses this socket or device cannot be given it later");
}

bool args_late_chardev(struct args_late *late, size_t i, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    struct qemuopts *opts = qemuopts_parse(arg->value, "backend", err);
    bool changed = false;
    bool ok;

    if (!opts)
        return false;
    ok = prepare(late, arg, &opts, args_chardev_used(late->args, qemuopts_get(opts, "id") ?: "",
                                                    NULL), &changed, err);
    if (ok && changed)
        args_late_replace(late, i, opts);
    qemuopts_free(opts);
    return ok;
}

/* The id that QEMU gives the chardev of a short form; counts the option.  NULL: it makes none. */
static char *short_id(struct args_late *late, const struct arg *arg)
{
    bool none = strcmp(arg->value, "none") == 0;
    unsigned number;

    if (strcmp(arg->name, "debugcon") == 0)
        return args_util_dup("debugcon");
    if (strcmp(arg->name, "serial") == 0) {
        number = late->serials++;
        return none ? NULL : args_util_format("serial%u", number);
    }
    if (args_util_prefix(arg->value, "none", NULL))
        return NULL;
    if (strcmp(arg->name, "parallel") == 0)
        return args_util_format("parallel%u", late->parallels++);
    return args_util_format("compat_monitor%u", late->monitors++);
}

/* QEMU's label as an explicit -chardev, so that options without a short form can be said. */
static void short_expand(struct args_late *late, size_t i, const struct qemuopts *opts,
                         const char *id)
{
    ARGS_AUTO_TEXT word = args_util_dup(args_at(late->args, i)->word);
    ARGS_AUTO_TEXT text = qemuopts_render(opts);
    ARGS_AUTO_TEXT user = args_util_format("chardev:%s", id);

    args_replace(late->args, i, word, user);
    args_insert(late->args, i, "-chardev", text);
}

/* A monitor cannot ask a mux that was made as "mon:..." for anything else: its -mon is explicit. */
static void mux_monitor(struct args_late *late, size_t i, const char *id)
{
    ARGS_AUTO_TEXT mon = args_util_format("%s,mode=readline", id);

    args_insert(late->args, i, "-mon", mon);
}

bool args_late_short(struct args_late *late, size_t i, size_t *inserted, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    bool monitor = arg->row->class == OPTION_MONITOR;
    ARGS_AUTO_TEXT id = NULL;
    struct qemuopts *opts;
    bool changed = false;
    bool mux;
    bool ok;

    if (strcmp(arg->name, "mon") == 0)
        return true;
    id = short_id(late, arg);
    if (!id || args_util_prefix(arg->value, "chardev:", NULL))
        return true;
    opts = args_chardev_short(arg->value, id, err);
    if (!opts)
        return false;
    mux = qemuopts_get_bool(opts, "mux", false);
    ok = prepare(late, arg, &opts, strcmp(arg->name, "serial") == 0 ? ARGS_CHARDEV_SERIAL
                                                                   : ARGS_CHARDEV_OTHER,
                 &changed, err);
    if (ok && changed) {
        short_expand(late, i, opts, id);
        *inserted = 1;
        if (mux && !monitor) {
            mux_monitor(late, i + 1, id);
            *inserted = 2;
        }
    }
    qemuopts_free(opts);
    return ok;
}
