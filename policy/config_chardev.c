/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/config_chardev.h"

#include <string.h>

#include "policy/args_util.h"
#include "policy/qemuopts_json.h"
#include "policy/state.h"

/* A member of the backend's data, and its key; NULL: the same word. */
struct chardev_member {
    const char *name, *key;
};

#define SAME(name) { name, NULL }
#define END { NULL, NULL }

static const struct chardev_member common[] = { SAME("logfile"), SAME("logappend"), END };
static const struct chardev_member device[] = { { "device", "path" }, END };
static const struct chardev_member none[] = { END };
static const struct chardev_member file[] = { { "out", "path" }, SAME("append"), END };
static const struct chardev_member ring[] = { SAME("size"), END };
static const struct chardev_member console[] = { SAME("width"), SAME("height"), SAME("cols"),
    SAME("rows"), END };
static const struct chardev_member terminal[] = { SAME("signal"), END };
static const struct chardev_member pty[] = { SAME("path"), END };
/* addr is looked at by itself */
static const struct chardev_member stream[] = { { "addr", "" }, SAME("server"), SAME("wait"),
    SAME("nodelay"), SAME("telnet"), SAME("tn3270"), SAME("websocket"), SAME("reconnect"),
    SAME("reconnect-ms"), SAME("tls-creds"), SAME("tls-authz"), END };
static const struct chardev_member datagram[] = { { "remote", "" }, { "local", "" }, END };
static const struct chardev_member inet[] = { SAME("host"), SAME("port"), SAME("to"), SAME("ipv4"),
    SAME("ipv6"), { "type", "" }, END };
static const struct chardev_member local[] = { { "host", "localaddr" }, { "port", "localport" },
    { "type", "" }, END };
static const struct chardev_member unix_path[] = { SAME("path"), SAME("abstract"), SAME("tight"),
    { "type", "" }, END };

static const struct chardev_kind {
    const char *type;
    const struct chardev_member *members;
} kinds[] = {
    { "null", none }, { "msmouse", none }, { "wctablet", none }, { "braille", none },
    { "testdev", none }, { "pty", pty }, { "ringbuf", ring }, { "memory", ring }, { "vc", console },
    { "stdio", terminal }, { "file", file }, { "serial", device }, { "tty", device },
    { "parallel", device }, { "parport", device }, { "pipe", device }, { "socket", stream },
    { "udp", datagram },
};

static const struct chardev_member *member_find(const struct chardev_member *members,
                                                const char *name)
{
    for (; members->name; members++)
        if (strcmp(members->name, name) == 0)
            return members;
    return NULL;
}

/* Every member of the object that the table has; false: one that it has not. */
static bool put_members(struct qemuopts *opts, const json_t *object,
                        const struct chardev_member *members, bool with_common)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value) {
        const struct chardev_member *member = member_find(members, name);
        const char *key;
        ARGS_AUTO_TEXT text = NULL;

        if (!member && with_common)
            member = member_find(common, name);
        if (!member)
            return false;
        key = member->key ? member->key : name;
        if (!*key)
            continue;
        text = qemuopts_json_scalar(value);
        qemuopts_set(opts, key, text);
    }
    return true;
}

/* SocketAddressLegacy: { type, data }. */
static bool put_address(struct qemuopts *opts, const json_t *address,
                        const struct chardev_member *as_inet, bool may_be_unix)
{
    const char *type = state_str(address, "type");
    const json_t *data = json_object_get(address, "data");

    if (!type || !json_is_object(data))
        return false;
    if (strcmp(type, "inet") == 0)
        return put_members(opts, data, as_inet, false);
    return may_be_unix && strcmp(type, "unix") == 0 && put_members(opts, data, unix_path, false);
}

static bool put_socket(struct qemuopts *opts, const json_t *data)
{
    if (!put_address(opts, json_object_get(data, "addr"), inet, true))
        return false;
    if (!qemuopts_get(opts, "server"))
        qemuopts_set(opts, "server", "on");
    if (qemuopts_get_bool(opts, "server", false) && !qemuopts_get(opts, "wait"))
        qemuopts_set(opts, "wait", "off");
    return true;
}

static bool put_udp(struct qemuopts *opts, const json_t *data)
{
    const json_t *from = json_object_get(data, "local");

    return put_address(opts, json_object_get(data, "remote"), inet, false) &&
           (!from || put_address(opts, from, local, false));
}

static bool put_backend(struct qemuopts *opts, const char *type, const json_t *data)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].type, type) != 0)
            continue;
        qemuopts_set(opts, "backend", type);
        return put_members(opts, data, kinds[i].members, true) &&
               (kinds[i].members != stream || put_socket(opts, data)) &&
               (kinds[i].members != datagram || put_udp(opts, data));
    }
    return false;
}

struct qemuopts *config_chardev(const json_t *arguments, const char **why)
{
    const json_t *backend = json_object_get(arguments, "backend");
    const char *type = state_str(backend, "type"), *id = state_str(arguments, "id");
    struct qemuopts *opts = qemuopts_new();

    *why = "-chardev cannot say this backend";
    qemuopts_set(opts, "backend", "");
    qemuopts_set(opts, "id", id ? id : "");
    if (id && type && put_backend(opts, type, json_object_get(backend, "data")))
        return opts;
    qemuopts_free(opts);
    return NULL;
}
