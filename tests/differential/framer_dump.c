/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Says what QEMU would make of the bytes on stdin: one line of JSON for each answer, either
 * {"error": {"class", "desc"}, "id"?} or {"command": NAME, "id"?}.  The client's id is shown as
 * strict JSON.
 *
 * framer_dump [--oob] [--chunk N] [--max-bytes N]: the client has negotiated oob; bytes are fed N
 * at a time; the limit of framer_new().
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp/framer.h"
#include "qmp/message.h"
#include "qmp/splice.h"

#define CHUNK 65536

static bool oob_enabled;

static void print_id(const struct message *m)
{
    size_t len;
    char *id;

    if (!m->has_id)
        return;
    id = splice_id(m->id, &len);
    printf(", \"id\": %s", id);
    free(id);
}

/* The name as message.command has it, which decides what is done with the request; where that was
 * cut, as it was written. */
static void print_name(const struct message *m)
{
    char decoded[MESSAGE_COMMAND_MAX];
    size_t len = 0;
    json_t *name;
    char *text;

    for (const char *p = m->command; *p; p++) {
        bool null = p[0] == '\xc0' && p[1] == '\x80';

        decoded[len++] = null ? '\0' : *p;
        p += null;
    }
    name = m->name_long ? NULL : json_stringn(decoded, len);
    text = name ? json_dumps(name, JSON_ENCODE_ANY) : splice_id(m->execute, &len);
    printf("{\"command\": %s", text);
    free(text);
    json_decref(name);
}

static void print_error(const struct err *err, const struct message *m)
{
    json_t *error = err_to_json(err);
    char *text = json_dumps(error, 0);

    printf("{\"error\": %s", text);
    print_id(m);
    printf("}\n");
    free(text);
    json_decref(error);
}

static void print_message(struct span text)
{
    struct err err = ERR_INIT;
    struct message m;

    if (!message_parse_request(text.at, text.len, oob_enabled, &m, &err)) {
        print_error(&err, &m);
        err_clear(&err);
        return;
    }
    print_name(&m);
    print_id(&m);
    printf("}\n");
}

static void feed(struct framer *framer, const char *data, size_t len)
{
    const struct message none = { .has_id = false };
    struct frame frame;

    while (len) {
        size_t used = framer_feed(framer, data, len, &frame);

        data += used;
        len -= used;
        if (frame.kind == FRAME_MESSAGE)
            print_message(frame.text);
        else if (frame.kind != FRAME_NONE)
            print_error(&frame.err, &none);
    }
}

int main(int argc, char **argv)
{
    size_t chunk = CHUNK, max_bytes = 0;
    static char data[CHUNK];
    struct framer *framer;
    ssize_t n;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--oob") == 0)
            oob_enabled = true;
        else if (strcmp(argv[i], "--chunk") == 0 && i + 1 < argc)
            chunk = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--max-bytes") == 0 && i + 1 < argc)
            max_bytes = strtoul(argv[++i], NULL, 10);
        else
            return 2;
    }
    if (chunk < 1 || chunk > CHUNK)
        return 2;
    framer = framer_new(max_bytes);
    while ((n = read(STDIN_FILENO, data, sizeof(data))) > 0) {
        for (size_t at = 0; at < (size_t)n; at += chunk)
            feed(framer, data + at, (size_t)n - at < chunk ? (size_t)n - at : chunk);
    }
    framer_free(framer);
    return n < 0 || fflush(stdout) != 0;
}
