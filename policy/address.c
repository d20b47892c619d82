/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/qemuopts.h"
#include "qmp/alloc.h"

/* Options that QEMU's own addresses have and that make no difference here. */
static const char *const address_ignored[] = {
    "server", "wait", "nodelay", "ipv4", "ipv6", "telnet", "reconnect", "reconnect-ms",
    "delay", /* "nodelay" as a word is delay=off */
    NULL,
};

static char *address_dup(const char *text, size_t len)
{
    char *copy = alloc_copy_n(text, len);

    return copy;
}

static bool address_parse_tcp(const char *text, struct address *out, struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t host = colon ? (size_t)(colon - text) : 0;
    char *end;
    long port;

    if (!colon || colon[1] == '\0') {
        err_set(err, NULL, "'tcp:%s' lacks a port: write tcp:HOST:PORT", text);
        return false;
    }
    port = strtol(colon + 1, &end, 10);
    if (*end != '\0' || port < 0 || port > 65535) {
        err_set(err, NULL, "'%s' is no port: write a number from 0 to 65535", colon + 1);
        return false;
    }
    out->kind = ADDRESS_TCP;
    if (host >= 2 && text[0] == '[' && text[host - 1] == ']')
        out->host = address_dup(text + 1, host - 2);
    else
        out->host = host ? address_dup(text, host) : address_dup("127.0.0.1", 9);
    out->port = address_dup(colon + 1, strlen(colon + 1));
    return true;
}

static bool address_parse_where(const char *where, struct address *out, struct err *err)
{
    char *end;
    long fd;

    if (strncmp(where, "tcp:", 4) == 0)
        return address_parse_tcp(where + 4, out, err);
    if (strncmp(where, "fd:", 3) == 0) {
        fd = strtol(where + 3, &end, 10);
        if (where[3] == '\0' || *end != '\0' || fd < 0 || fd > 1 << 20) {
            err_set(err, NULL, "'%s' is no descriptor: write fd:NUMBER", where);
            return false;
        }
        out->kind = ADDRESS_FD;
        out->fd = (int)fd;
        return true;
    }
    if (strncmp(where, "unix:", 5) == 0)
        where += 5;
    if (where[0] == '\0') {
        err_set(err, NULL, "An address is unix:PATH, tcp:HOST:PORT or fd:N; the path is empty");
        return false;
    }
    out->kind = ADDRESS_UNIX;
    out->path = address_dup(where, strlen(where));
    return true;
}

static bool address_parse_option(const struct qemuopt *opt, struct address *out, struct err *err)
{
    char *end;

    if (strcmp(opt->key, "mode") == 0) {
        long mode = strtol(opt->value, &end, 8);

        if (opt->value[0] == '\0' || *end != '\0' || mode < 0 || mode > 0777) {
            err_set(err, NULL, "mode=%s is no file mode: write it in octal, e.g. mode=0660",
                    opt->value);
            return false;
        }
        out->mode = (int)mode;
        return true;
    }
    if (strcmp(opt->key, "group") == 0) {
        free(out->group);
        out->group = address_dup(opt->value, strlen(opt->value));
        return true;
    }
    if (strcmp(opt->key, "insecure") == 0) {
        out->insecure = strcmp(opt->value, "on") == 0;
        return true;
    }
    if (strcmp(opt->key, "role") == 0) {
        if (strcmp(opt->value, "admin") == 0)
            return true;
        err_set(err, NULL, "role=%s is not available: only role=admin is, so far", opt->value);
        return false;
    }
    for (size_t i = 0; address_ignored[i]; i++)
        if (strcmp(opt->key, address_ignored[i]) == 0)
            return true;
    err_set(err, NULL, "'%s' is no option of an address: role, mode, group and insecure are",
            opt->key);
    return false;
}

bool address_parse(const char *text, struct address *out, struct err *err)
{
    struct qemuopts *opts = qemuopts_parse(text, "where", err);
    const char *where;
    bool ok;

    if (!opts)
        return false;
    *out = (struct address){ .fd = -1, .mode = -1 };
    where = qemuopts_get(opts, "where");
    ok = address_parse_where(where ? where : "", out, err);
    for (size_t i = 0; ok && i < qemuopts_count(opts); i++) {
        const struct qemuopt *opt = qemuopts_at(opts, i);

        if (strcmp(opt->key, "where") != 0)
            ok = address_parse_option(opt, out, err);
    }
    qemuopts_free(opts);
    if (!ok)
        address_clear(out);
    return ok;
}

void address_clear(struct address *address)
{
    free(address->path);
    free(address->host);
    free(address->port);
    free(address->group);
    *address = (struct address){ .fd = -1, .mode = -1 };
}

bool address_is_loopback(const struct address *address)
{
    unsigned part[4];
    char rest;

    /* "127.example.org" is a name, and leads to wherever its owner says. */
    if (sscanf(address->host, "%3u.%3u.%3u.%3u%c", &part[0], &part[1], &part[2], &part[3],
               &rest) == 4)
        return part[0] == 127;
    return strcmp(address->host, "::1") == 0 || strcmp(address->host, "localhost") == 0;
}
