/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/utf8.h"

#include <string.h>

#define REPLACEMENT 0xfffd

bool utf8_valid(int32_t c)
{
    if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return false;
    return (c & 0xfffe) != 0xfffe && !(c >= 0xfdd0 && c <= 0xfdef);
}

/* How long the sequence is that begins with lead; 0 when none does. */
static size_t sequence_len(unsigned char lead)
{
    static const unsigned char first[] = { 0xfe, 0xfc, 0xf8, 0xf0, 0xe0, 0xc0 };
    size_t len = 7;

    if (lead < 0xc0 || lead >= first[0])
        return 0;
    for (size_t i = 0; i < sizeof(first); i++) {
        if (lead >= first[i])
            break;
        len--;
    }
    return len;
}

int32_t utf8_decode(const char *s, size_t n, size_t *used)
{
    /* Below these the sequence is longer than it need be. */
    static const int32_t least[] = { 0x80, 0x800, 0x10000, 0x200000, 0x4000000 };
    unsigned char lead = (unsigned char)*s;
    size_t len;
    int32_t c;

    *used = 1;
    if (lead < 0x80)
        return lead ? lead : -1;
    len = sequence_len(lead);
    if (len == 0)
        return -1;
    c = lead & (0x7f >> len);
    for (; *used < len; ++*used) {
        if (*used == n || (s[*used] & 0xc0) != 0x80)
            return -1;
        c = (c << 6) | (s[*used] & 0x3f);
    }
    if (c < least[len - 2] && !(c == 0 && len == 2))
        return -1;
    return utf8_valid(c) ? c : -1;
}

size_t utf8_encode(char out[4], int32_t c)
{
    if (c > 0 && c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

void utf8_clean(char *out, size_t size, const char *text, size_t len)
{
    size_t o = 0;

    for (size_t i = 0, used; i < len && text[i]; i += used) {
        int32_t c = utf8_decode(text + i, len - i, &used);
        char bytes[4];
        size_t n = utf8_encode(bytes, c >= 0 ? c : REPLACEMENT);

        if (o + n >= size)
            break;
        memcpy(out + o, bytes, n);
        o += n;
    }
    out[o] = '\0';
}
