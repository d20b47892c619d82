/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backend of chardev-change (QAPI ChardevBackend) for the keys of a -chardev. */
#include "policy/args_late_internal.h"
#include "policy/args_util.h"

#include <stdlib.h>
#include <string.h>

static bool keys_known(const struct qemuopts *opts)
{
    static const char *const known[] = { "backend", "id", "path", "host", "port", "server", "wait",
        "nodelay", "delay", "telnet", "tn3270", "websocket", "reconnect", "reconnect-ms", "ipv4",
        "ipv6", "to", "tls-creds", "tls-authz", "logfile", "logappend", "abstract", "tight",
        "localaddr", "localport", "mux", "signal", NULL };

    for (size_t k = 0; k < qemuopts_count(opts); k++) {
        if (!args_util_listed(qemuopts_at(opts, k)->key, known))
            return false;
    }
    return true;
}

static void put_text(json_t *data, const struct qemuopts *opts, const char *key)
{
    const char *value = qemuopts_get(opts, key);

    if (value)
        json_object_set_new(data, key, json_string(value));
}

static void put_bool(json_t *data, const struct qemuopts *opts, const char *key)
{
    if (qemuopts_get(opts, key))
        json_object_set_new(data, key, json_boolean(qemuopts_get_bool(opts, key, true)));
}

static void put_number(json_t *data, const struct qemuopts *opts, const char *key)
{
    const char *value = qemuopts_get(opts, key);

    if (value)
        json_object_set_new(data, key, json_integer(strtoll(value, NULL, 10)));
}

static json_t *inet(const struct qemuopts *opts, const char *host_key, const char *port_key,
                    const char *host, const char *port)
{
    return json_pack("{s:s, s:{s:s, s:s}}", "type", "inet", "data", "host",
                     qemuopts_get(opts, host_key) ?: host, "port",
                     qemuopts_get(opts, port_key) ?: port);
}

static json_t *socket_address(const struct qemuopts *opts)
{
    const char *path = qemuopts_get(opts, "path");
    json_t *address;
    json_t *data;

    if (path) {
        address = json_pack("{s:s, s:{s:s}}", "type", "unix", "data", "path", path);
        data = json_object_get(address, "data");
        put_bool(data, opts, "abstract");
        put_bool(data, opts, "tight");
    } else if (qemuopts_get(opts, "port")) {
        address = inet(opts, "host", "port", "", "");
        data = json_object_get(address, "data");
        put_bool(data, opts, "ipv4");
        put_bool(data, opts, "ipv6");
        put_number(data, opts, "to");
    } else {
        return NULL;
    }
    return address;
}

static json_t *socket_data(const struct qemuopts *opts)
{
    static const char *const flags[] = { "telnet", "tn3270", "websocket", NULL };
    bool server = qemuopts_get_bool(opts, "server", false);
    json_t *address = socket_address(opts);
    json_t *data;

    if (!address)
        return NULL;
    /* Over QMP server is true by default, and waiting for a client would stop the main loop. */
    data = json_pack("{s:o, s:b}", "addr", address, "server", server);
    if (server)
        json_object_set_new(data, "wait", json_false());
    if (qemuopts_get_bool(opts, "nodelay", false) || !qemuopts_get_bool(opts, "delay", true))
        json_object_set_new(data, "nodelay", json_true());
    for (size_t k = 0; flags[k]; k++)
        put_bool(data, opts, flags[k]);
    put_number(data, opts, "reconnect");
    put_number(data, opts, "reconnect-ms");
    put_text(data, opts, "tls-creds");
    put_text(data, opts, "tls-authz");
    return data;
}

static json_t *udp_data(const struct qemuopts *opts)
{
    json_t *data;

    if (!qemuopts_get(opts, "port"))
        return NULL;
    data = json_pack("{s:o}", "remote", inet(opts, "host", "port", "localhost", ""));
    if (qemuopts_get(opts, "localaddr") || qemuopts_get(opts, "localport"))
        json_object_set_new(data, "local", inet(opts, "localaddr", "localport", "", "0"));
    return data;
}

static json_t *stdio_data(const struct qemuopts *opts)
{
    json_t *data = json_object();

    put_bool(data, opts, "signal");
    return data;
}

json_t *args_late_backend(const struct qemuopts *opts)
{
    const char *backend = qemuopts_get(opts, "backend") ?: "";
    const char *type = strcmp(backend, "tty") == 0 ? "serial"
                       : strcmp(backend, "parport") == 0 ? "parallel" : backend;
    const char *path = qemuopts_get(opts, "path");
    json_t *data = NULL;

    if (!keys_known(opts))
        return NULL;
    if (strcmp(type, "socket") == 0)
        data = socket_data(opts);
    else if (strcmp(type, "udp") == 0)
        data = udp_data(opts);
    else if (strcmp(type, "stdio") == 0)
        data = stdio_data(opts);
    else if (path)
        data = json_pack("{s:s}", "device", path);
    if (!data)
        return NULL;
    put_text(data, opts, "logfile");
    put_bool(data, opts, "logappend");
    return json_pack("{s:s, s:o}", "type", type, "data", data);
}
