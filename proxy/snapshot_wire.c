/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/snapshot_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/snapshot_connect.h"
#include "qmp/alloc.h"

#define READ_BYTES 65536

struct snapshot_wire {
    int fd;                     /* non-blocking; every wait is a poll() */
    char *buffer;               /* what was read and not yet taken as a line */
    size_t len, room, scanned;  /* scanned: no newline before here */
    unsigned last_id;
    int64_t deadline;           /* until when to wait for the peer */
};

/* Reads what there is; false at the end, at an error, or when the deadline passes. */
static bool wire_fill(struct snapshot_wire *wire, struct err *err)
{
    ssize_t n;

    if (wire->room - wire->len < READ_BYTES) {
        wire->room = wire->room * 2 + READ_BYTES;
        wire->buffer = alloc_again(wire->buffer, wire->room);
    }
    do {
        if (!snapshot_connect_wait(wire->fd, POLLIN, wire->deadline)) {
            /* QEMU's own socket lets a second client in and tells it nothing. */
            err_set(err, NULL, "Nobody answered in time; does another client hold the monitor?");
            return false;
        }
        n = recv(wire->fd, wire->buffer + wire->len, READ_BYTES, 0);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n > 0) {
        wire->len += (size_t)n;
        return true;
    }
    if (n == 0)
        err_set(err, NULL, "The connection was closed before the answer came");
    else
        err_set(err, NULL, "Cannot read from the connection: %s", strerror(errno));
    return false;
}

static json_t *line_parse(const char *line, size_t len, struct err *err)
{
    json_error_t error;
    json_t *out = json_loadb(line, len, JSON_ALLOW_NUL, &error);

    /* An event of QEMU's may hold a number above 2^63, which jansson takes as a real only. */
    if (!out)
        out = json_loadb(line, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    if (!out)
        err_set(err, NULL, "The peer does not speak QMP: %s", error.text);
    else if (!json_is_object(out))
        err_set(err, NULL, "The peer does not speak QMP: a message is no object");
    if (json_is_object(out))
        return out;
    json_decref(out);
    return NULL;
}

/* new: the next message, NULL with *err set when there is none. */
static json_t *wire_read(struct snapshot_wire *wire, struct err *err)
{
    for (;;) {
        char *end = wire->len > wire->scanned
            ? memchr(wire->buffer + wire->scanned, '\n', wire->len - wire->scanned) : NULL;
        size_t used = end ? (size_t)(end - wire->buffer) + 1 : 0;
        bool blank = used > 0 && strspn(wire->buffer, " \r\t\n") >= used;
        json_t *out;

        if (used > SNAPSHOT_WIRE_LINE_MAX || (!end && wire->len > SNAPSHOT_WIRE_LINE_MAX)) {
            err_set(err, NULL, "The peer sent a line of more than %u MiB",
                    SNAPSHOT_WIRE_LINE_MAX >> 20);
            return NULL;
        }
        if (!end) {
            wire->scanned = wire->len;
            if (!wire_fill(wire, err))
                return NULL;
            continue;
        }
        out = blank ? NULL : line_parse(wire->buffer, used, err);
        memmove(wire->buffer, wire->buffer + used, wire->len - used);
        wire->len -= used;
        wire->scanned = 0;
        if (!blank)
            return out;
    }
}

static bool wire_write(struct snapshot_wire *wire, const char *text, size_t len, struct err *err)
{
    while (len > 0) {
        ssize_t n = send(wire->fd, text, len, MSG_NOSIGNAL);

        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!snapshot_connect_wait(wire->fd, POLLOUT, wire->deadline)) {
                err_set(err, NULL, "Nobody read the command in time");
                return false;
            }
        } else if (errno != EINTR) {
            err_set(err, NULL, "Cannot write to the connection: %s", strerror(errno));
            return false;
        }
    }
    return true;
}

/* new: the answer with the id; what is nobody's answer is skipped. */
static json_t *wire_answer(struct snapshot_wire *wire, const char *id, struct err *err)
{
    for (;;) {
        json_t *message = wire_read(wire, err);
        const json_t *error = json_object_get(message, "error");
        const char *found = json_string_value(json_object_get(message, "id"));
        bool answer = error || json_object_get(message, "return");

        if (!message || (answer && found && !strcmp(found, id)))
            return message;
        /* Only what could not be read at all is answered without its id. */
        if (error && !json_object_get(message, "id")) {
            const char *desc = json_string_value(json_object_get(error, "desc"));

            err_set(err, NULL, "The peer did not understand: %s", desc ? desc : "(no reason)");
            json_decref(message);
            return NULL;
        }
        json_decref(message);
    }
}

json_t *snapshot_wire_command(struct snapshot_wire *wire, const char *name, json_t *arguments,
                              struct err *err)
{
    json_t *command = json_object(), *answer = NULL;
    char id[32], *text;

    snprintf(id, sizeof(id), "qmp-snapshot-%u", ++wire->last_id);
    json_object_set_new(command, "execute", json_string(name));
    if (arguments)
        json_object_set_new(command, "arguments", arguments);
    json_object_set_new(command, "id", json_string(id));
    text = json_dumps(command, JSON_COMPACT);
    json_decref(command);
    if (!text)
        abort();
    if (wire_write(wire, text, strlen(text), err) && wire_write(wire, "\n", 1, err))
        answer = wire_answer(wire, id, err);
    free(text);
    return answer;
}

/* Greeting and qmp_capabilities. */
static bool wire_negotiate(struct snapshot_wire *wire, struct err *err)
{
    json_t *message = wire_read(wire, err);
    bool greeted = json_is_object(json_object_get(message, "QMP")), ready;

    if (message && !greeted)
        err_set(err, NULL, "The peer does not speak QMP: it sent no greeting");
    json_decref(message);
    if (!greeted)
        return false;
    message = snapshot_wire_command(wire, "qmp_capabilities", NULL, err);
    ready = json_object_get(message, "return") != NULL;
    if (message && !ready)
        err_set(err, NULL, "The peer refused to negotiate capabilities");
    json_decref(message);
    return ready;
}

struct snapshot_wire *snapshot_wire_open(const char *address, double timeout, struct err *err)
{
    int64_t deadline = snapshot_connect_now() + (int64_t)(timeout * 1000);
    int fd = snapshot_connect(address, deadline, err);
    struct snapshot_wire *wire;

    if (fd < 0)
        return NULL;
    wire = alloc_zeroed(1, sizeof(*wire));
    wire->fd = fd;
    wire->deadline = deadline;
    if (wire_negotiate(wire, err)) {
        wire->deadline = SNAPSHOT_CONNECT_FOREVER;
        return wire;
    }
    err_prefix(err, "%s", address);
    snapshot_wire_free(wire);
    return NULL;
}

void snapshot_wire_free(struct snapshot_wire *wire)
{
    if (!wire)
        return;
    close(wire->fd);
    free(wire->buffer);
    free(wire);
}
