/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: whatever a client sends, and however it is cut, the same comes out; what is
 * spliced is taken again and says the same; QEMU's replies are never read beyond their end.
 *
 * The first two bytes choose the limit and the cuts, the rest is the stream.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/framer.h"
#include "qmp/message.h"
#include "qmp/parse.h"
#include "qmp/splice.h"

#define REQUIRE(cond) \
    do { \
        if (!(cond)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort(); \
        } \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that came out of one stream. */
struct record {
    char *text;
    size_t len;
    FILE *file;
};

static bool same_span(struct span a, struct span b)
{
    return a.len == b.len && (a.at == NULL) == (b.at == NULL) &&
           (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Our id in, and the request still says the same. */
static void check_spliced(const struct message *m)
{
    struct message again, third;
    struct err err = ERR_INIT;
    size_t len, len2;
    char *text = splice_request(m, "\"p-1\"", &len);
    char *text2;

    REQUIRE(message_parse_request(text, len, true, &again, &err));
    REQUIRE(again.id.len == 5 && memcmp(again.id.at, "\"p-1\"", 5) == 0);
    REQUIRE(strcmp(again.command, m->command) == 0 && again.oob == m->oob);
    REQUIRE(same_span(again.execute, m->execute));
    REQUIRE((again.arguments.at == NULL) == (m->arguments.at == NULL));
    text2 = splice_request(&again, "\"p-1\"", &len2);
    REQUIRE(len == len2 && memcmp(text, text2, len) == 0);
    REQUIRE(message_parse_request(text2, len2, true, &third, &err));
    free(text2);
    free(text);
}

/* The client's id into a reply, which then has that id. */
static void check_id(struct span id)
{
    static const char reply_text[] = "{\"return\": {}, \"id\": \"p-1\"}";
    struct message_reply reply, back;
    struct err err = ERR_INIT;
    size_t len, id_len;
    char *line, *strict;

    REQUIRE(message_scan_reply(reply_text, sizeof(reply_text) - 1, &reply));
    line = splice_reply(reply_text, sizeof(reply_text) - 1, &reply, &id, &len);
    strict = splice_id(id, &id_len);
    REQUIRE(len > 2 && memcmp(line + len - 2, "\r\n", 2) == 0);
    REQUIRE(!memchr(line, '\n', len - 2) && !memchr(line, '\r', len - 2));
    REQUIRE(parse_text(line, len, NULL, NULL, NULL, &err));
    REQUIRE(message_scan_reply(line, len, &back));
    REQUIRE(back.has_id && same_span(back.id, (struct span){ strict, id_len }));
    free(strict);
    free(line);
}

static void take_message(struct span text, struct record *out)
{
    struct err err = ERR_INIT;
    struct message_reply reply;
    struct message m;

    if (message_parse_request(text.at, text.len, true, &m, &err)) {
        fprintf(out->file, "command %s\n", m.command);
        check_spliced(&m);
    } else {
        fprintf(out->file, "refused %s\n", err.desc);
        err_clear(&err);
    }
    if (m.has_id)
        check_id(m.id);
    if (message_scan_reply(text.at, text.len, &reply) && reply.has_id)
        REQUIRE(reply.id.at > text.at && reply.id.at + reply.id.len < text.at + text.len);
}

static void run(const uint8_t *data, size_t size, size_t max_bytes, size_t step, struct record *out)
{
    struct framer *framer = framer_new(max_bytes);
    size_t at = 0, idle = 0;

    out->file = open_memstream(&out->text, &out->len);
    REQUIRE(out->file);
    while (at < size) {
        size_t n = step < size - at ? step : size - at;
        char *piece = malloc(n);
        struct frame frame;
        size_t used;

        memcpy(piece, data + at, n);
        used = framer_feed(framer, piece, n, &frame);
        free(piece);
        REQUIRE(used <= n && (frame.kind != FRAME_NONE || used == n));
        idle = used ? 0 : idle + 1;
        REQUIRE(idle < 2);
        at += used;
        if (frame.kind == FRAME_NONE)
            continue;       /* how often that is depends on the cuts */
        fprintf(out->file, "%d ", frame.kind);
        if (frame.kind == FRAME_MESSAGE) {
            fwrite(frame.text.at, 1, frame.text.len, out->file);
            take_message(frame.text, out);
        } else {
            fprintf(out->file, "%s\n", frame.err.desc);
        }
    }
    framer_free(framer);
    fclose(out->file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record whole = { .len = 0 }, cut = { .len = 0 };
    size_t max_bytes;

    if (size < 2)
        return 0;
    max_bytes = data[0] < 128 ? 0 : data[0];
    run(data + 2, size - 2, max_bytes, size, &whole);
    run(data + 2, size - 2, max_bytes, 1 + data[1] % 17, &cut);
    REQUIRE(whole.len == cut.len && memcmp(whole.text, cut.text, whole.len) == 0);
    free(whole.text);
    free(cut.text);
    return 0;
}
