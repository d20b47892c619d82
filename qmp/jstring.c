/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/jstring.h"

#include <string.h>

#include "qmp/utf8.h"

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/*
 * The character that the escape \uXXXX at *at, perhaps with a second one after it, stands for, or
 * -1.  *at moves past what QEMU would quote: it takes a second escape with the first only when the
 * two are a pair of surrogates.
 */
static int32_t take_unicode(const char **at, const char *end)
{
    int32_t c = hex4(*at + 2, end);
    int32_t low;

    *at = end - *at < 6 ? end : *at + 6;
    if (c < 0xd800 || c > 0xdbff || end - *at < 2 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return utf8_valid(c) ? c : -1;
    low = hex4(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *at += 6;
    c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
    return utf8_valid(c) ? c : -1;
}

/* What the letter after a backslash stands for, 0 when it means nothing. */
static char plain_escape(char letter)
{
    switch (letter) {
    case '"':
    case '\'':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

static bool check_unicode(const char **at, const char *end, struct err *err)
{
    const char *begin = *at;
    char quoted[64];

    if (take_unicode(at, end) >= 0)
        return true;
    utf8_clean(quoted, sizeof(quoted), begin, (size_t)(*at - begin));
    err_set(err, NULL, "JSON parse error, %s is not a valid Unicode character", quoted);
    return false;
}

bool jstring_check(struct span token, struct err *err)
{
    const char *p = token.at + 1;
    const char *end = token.at + token.len;     /* QEMU's quotations reach over the last quote */

    while (p < end - 1) {
        size_t used;

        if (*p == '\\' && p[1] == 'u') {
            if (!check_unicode(&p, end, err))
                return false;
        } else if (*p == '\\') {
            if (!plain_escape(p[1])) {
                err_set(err, NULL, "JSON parse error, invalid escape sequence in string");
                return false;
            }
            p += 2;
        } else if ((unsigned char)*p < 0x80) {
            p++;
        } else if (utf8_decode(p, (size_t)(end - p), &used) >= 0) {
            p += used;
        } else {
            err_set(err, NULL, "JSON parse error, invalid UTF-8 sequence in string");
            return false;
        }
    }
    return true;
}

struct jstring jstring_start(struct span token)
{
    return (struct jstring){ .at = token.at + 1, .end = token.at + token.len - 1 };
}

int32_t jstring_next(struct jstring *s)
{
    size_t used;
    int32_t c;

    if (s->at >= s->end)
        return -1;
    if (*s->at != '\\') {
        c = utf8_decode(s->at, (size_t)(s->end - s->at), &used);
        s->at += used;
        return c < 0 ? 0xfffd : c;
    }
    if (s->end - s->at > 1 && s->at[1] == 'u') {
        c = take_unicode(&s->at, s->end);
        return c < 0 ? 0xfffd : c;
    }
    c = s->end - s->at > 1 ? plain_escape(s->at[1]) : 0;
    s->at = s->end - s->at > 1 ? s->at + 2 : s->end;
    return c;
}

bool jstring_equal(struct span a, struct span b)
{
    struct jstring left = jstring_start(a), right = jstring_start(b);

    for (;;) {
        int32_t c = jstring_next(&left);

        if (c != jstring_next(&right))
            return false;
        if (c < 0)
            return true;
    }
}

bool jstring_is(struct span token, const char *text)
{
    struct jstring s = jstring_start(token);

    for (; *text; text++) {
        if (jstring_next(&s) != (unsigned char)*text)
            return false;
    }
    return jstring_next(&s) < 0;
}

uint64_t jstring_hash(struct span token, uint64_t seed)
{
    struct jstring s = jstring_start(token);
    uint64_t hash = seed;
    int32_t c;

    while ((c = jstring_next(&s)) >= 0) {
        hash = (hash ^ (uint32_t)c) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash;
}

size_t jstring_decode(struct span token, char *out, size_t size)
{
    struct jstring s = jstring_start(token);
    size_t len = 0, kept = 0;
    int32_t c;

    while ((c = jstring_next(&s)) >= 0) {
        char bytes[4];
        size_t n = utf8_encode(bytes, c);

        if (kept == len && len + n < size) {
            memcpy(out + len, bytes, n);
            kept += n;
        }
        len += n;
    }
    out[kept] = '\0';
    return len;
}
