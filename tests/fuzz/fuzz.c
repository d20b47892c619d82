/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "qmp/framer.h"
#include "qmp/parse.h"
#include "qmp/pretty.h"
#include "qmp/splice.h"

#define OUR_ID "\"p-1\""

/* What QEMU takes and jansson does not: see fuzz_load(). */
static bool beyond_jansson(enum json_error_code code)
{
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

char *fuzz_copy(const void *from, size_t len)
{
    char *copy = malloc(len ? len : 1);

    FUZZ_REQUIRE(copy);
    if (len)
        memcpy(copy, from, len);
    return copy;
}

uint64_t fuzz_hash(uint64_t hash, const void *from, size_t len)
{
    const unsigned char *p = from;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return (hash ^ len) * UINT64_C(0x100000001b3);
}

bool fuzz_same_span(struct span a, struct span b)
{
    return a.len == b.len && (a.at == NULL) == (b.at == NULL) &&
           (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool fuzz_is_value(struct span text)
{
    struct err err = ERR_INIT;
    bool ok = parse_text(text.at, text.len, NULL, NULL, NULL, &err);

    err_clear(&err);
    return ok;
}

json_t *fuzz_load(const char *text, size_t len)
{
    json_error_t error;
    json_t *json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
                              &error);

    FUZZ_REQUIRE(json || beyond_jansson(json_error_code(&error)));
    return json;
}

/* QEMU reads the text as one message, whatever a client hides in it. */
static void check_framed(const char *text, size_t len)
{
    struct framer *framer = framer_new(0);
    char *copy = fuzz_copy(text, len);
    struct frame frame;

    FUZZ_REQUIRE(framer_feed(framer, copy, len, &frame) == len);
    free(copy);
    FUZZ_REQUIRE(frame.kind == FRAME_MESSAGE);
    FUZZ_REQUIRE(frame.text.len == len && memcmp(frame.text.at, text, len) == 0);
    framer_free(framer);
}

/* new: the value as strict JSON without space between its tokens. */
static char *compact(struct span value)
{
    size_t len, to = 0;
    char *text = splice_id(value, &len);
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        if (quoted && text[i] == '\\')
            text[to++] = text[i++];
        else if (text[i] == '"')
            quoted = !quoted;
        if (quoted || text[i] != ' ')
            text[to++] = text[i];
    }
    text[to] = '\0';
    return text;
}

/* The values are the same: what differs are at most the space and the quotes. */
static void check_same_value(struct span a, struct span b)
{
    char *a_text, *b_text;

    FUZZ_REQUIRE((a.at == NULL) == (b.at == NULL));
    if (!a.at)
        return;
    a_text = compact(a);
    b_text = compact(b);
    FUZZ_REQUIRE(strcmp(a_text, b_text) == 0);
    free(a_text);
    free(b_text);
}

/* The text is what splice_request() made of m. */
static void check_spliced(const struct message *m, bool oob, const char *text, size_t len,
                          struct span id)
{
    struct message again;
    struct err err = ERR_INIT;

    FUZZ_REQUIRE(!memchr(text, '\n', len) && !memchr(text, '\r', len));
    check_framed(text, len);
    FUZZ_REQUIRE(message_parse_request(text, len, oob, &again, &err));
    FUZZ_REQUIRE(again.text.at == text && again.text.len == len);
    FUZZ_REQUIRE(again.has_id == (id.at != NULL));
    check_same_value(again.id, id);
    FUZZ_REQUIRE(strcmp(again.command, m->command) == 0 && again.oob == m->oob);
    FUZZ_REQUIRE(fuzz_same_span(again.execute, m->execute));
    check_same_value(again.arguments, m->arguments);
}

/* Is it the name that jansson reads?  Ours has U+0000 as C0 80, and may be cut. */
static void check_name(const struct message *m, const json_t *name)
{
    const char *theirs = json_string_value(name);
    size_t len = json_string_length(name), at = 0;

    FUZZ_REQUIRE(theirs);
    for (const char *p = m->command; *p; p++, at++) {
        bool null = p[0] == '\xc0' && p[1] == '\x80';

        FUZZ_REQUIRE(at < len && theirs[at] == (null ? '\0' : *p));
        p += null;
    }
    FUZZ_REQUIRE(m->name_long ? at < len : at == len);
}

/* Jansson reads the same message: no key twice, and the parts are those that we see. */
static void check_parts(const struct message *m)
{
    size_t len;
    char *text = splice_id(m->text, &len);
    json_t *whole = fuzz_load(text, len);
    json_t *arguments = splice_arguments(m, JSON_REJECT_DUPLICATES);

    free(text);
    if (whole) {
        check_name(m, json_object_get(whole, m->oob ? "exec-oob" : "execute"));
        FUZZ_REQUIRE((json_object_get(whole, "id") != NULL) == m->has_id);
        FUZZ_REQUIRE(m->arguments.at ? json_equal(arguments, json_object_get(whole, "arguments"))
                                     : !arguments && !json_object_get(whole, "arguments"));
    }
    json_decref(arguments);
    json_decref(whole);
}

bool fuzz_check_request(const char *text, size_t len, bool oob, struct message *m,
                        struct err *err)
{
    size_t spliced_len;
    char *spliced;

    if (!message_parse_request(text, len, oob, m, err))
        return false;
    spliced = splice_request(m, OUR_ID, &spliced_len);
    check_spliced(m, oob, spliced, spliced_len, (struct span){ OUR_ID, sizeof(OUR_ID) - 1 });
    free(spliced);
    spliced = splice_request(m, NULL, &spliced_len);
    FUZZ_REQUIRE(spliced_len <= m->text.len);
    check_spliced(m, oob, spliced, spliced_len, m->id);
    free(spliced);
    check_parts(m);
    return true;
}

void fuzz_check_id(struct span id)
{
    static const char *const replies[] = {
        "{\"return\": {}, \"id\": \"p-1\"}\r\n", "{\"id\": \"p-1\", \"error\": {\"class\": \"X\"}}",
        "{\"return\": []}", "{\"error\": {}}\r\n",
    };
    size_t id_len;
    char *strict = splice_id(id, &id_len);

    json_decref(fuzz_load(strict, id_len));
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        struct message_reply reply, back;
        size_t len;
        char *line;

        FUZZ_REQUIRE(message_scan_reply(replies[i], strlen(replies[i]), &reply));
        line = splice_reply(replies[i], strlen(replies[i]), &reply, &id, &len);
        FUZZ_REQUIRE(len > 2 && memcmp(line + len - 2, "\r\n", 2) == 0);
        FUZZ_REQUIRE(!memchr(line, '\n', len - 2) && !memchr(line, '\r', len - 2));
        FUZZ_REQUIRE(fuzz_is_value((struct span){ line, len }));
        FUZZ_REQUIRE(message_scan_reply(line, len, &back));
        FUZZ_REQUIRE(back.kind == reply.kind && fuzz_same_span(back.value, reply.value));
        FUZZ_REQUIRE(back.has_id && fuzz_same_span(back.id, (struct span){ strict, id_len }));
        free(line);
    }
    free(strict);
}

/* What a client is to be told: the reply, with its id or with none. */
static void check_reply_value(json_t *original, const struct message_reply *reply, struct span id,
                              const char *line, size_t len)
{
    json_t *told = fuzz_load(line, len);
    json_t *wanted = NULL;
    size_t id_len = 0;
    char *strict = id.at ? splice_id(id, &id_len) : NULL;

    if (strict)
        wanted = fuzz_load(strict, id_len);
    if (told && (!strict || wanted)) {
        FUZZ_REQUIRE(json_is_object(told));
        if (reply->has_id)
            json_object_del(original, "id");
        if (wanted && (reply->has_id || reply->kind == MESSAGE_RETURN ||
                       reply->kind == MESSAGE_ERROR))
            json_object_set(original, "id", wanted);
        FUZZ_REQUIRE(json_equal(told, original));
    }
    free(strict);
    json_decref(wanted);
    json_decref(told);
}

/* A key that is written with escapes is one that the scanner does not know; QEMU writes none. */
static void note_escape(struct span key, const struct parse_value *value, void *opaque)
{
    bool *escaped = opaque;

    (void)value;
    *escaped = *escaped || memchr(key.at, '\\', key.len);
}

static void check_pretty(const char *text, size_t len, json_t *original)
{
    size_t pretty_len;
    char *printed = pretty_message(text, len, &pretty_len);
    json_t *pretty = fuzz_load(printed, pretty_len);

    FUZZ_REQUIRE(json_equal(pretty, original));
    free(printed);
    json_decref(pretty);
}

/* Where the text is JSON that anybody reads, jansson reads the same of what was made of it. */
static void check_strict_reply(const char *text, size_t len, const struct message_reply *reply,
                               struct span id, const char *line, size_t line_len)
{
    json_t *original = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    struct err err = ERR_INIT;
    bool escaped = false;

    if (json_is_object(original)) {
        check_pretty(text, len, original);
        /* What jansson takes and QEMU does not is no reply of QEMU's: U+FFFF, for one. */
        if (parse_text(text, len, note_escape, &escaped, NULL, &err) && !escaped) {
            FUZZ_REQUIRE((json_object_get(original, "id") != NULL) == reply->has_id);
            check_reply_value(original, reply, id, line, line_len);
        }
        err_clear(&err);
    }
    json_decref(original);
}

static bool inside(struct span inner, const char *text, size_t len)
{
    return inner.at >= text && inner.len <= len && inner.at + inner.len <= text + len;
}

void fuzz_check_reply(const char *text, size_t len, struct span id)
{
    struct message_reply reply;
    size_t line_len;
    char *line;

    if (!message_scan_reply(text, len, &reply)) {
        FUZZ_REQUIRE(reply.kind == MESSAGE_OTHER && !reply.has_id && !reply.value.at);
        return;
    }
    FUZZ_REQUIRE(!reply.value.at || (reply.value.len && inside(reply.value, text, len)));
    if (reply.has_id) {
        FUZZ_REQUIRE(reply.id.len && inside(reply.id, text, len));
        FUZZ_REQUIRE(inside(reply.id, reply.id_member.at, reply.id_member.len));
        FUZZ_REQUIRE(inside(reply.id_member, text + 1, len - 2));
    }
    line = splice_reply(text, len, &reply, &id, &line_len);
    FUZZ_REQUIRE(memchr(line, '\n', line_len) == line + line_len - 1);
    FUZZ_REQUIRE(memchr(line, '\r', line_len) == line + line_len - 2);
    check_strict_reply(text, len, &reply, id, line, line_len);
    free(line);
}
