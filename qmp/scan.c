/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/scan.h"

#include <string.h>

/* What a byte means while a value is skipped. */
enum mark {
    MARK_NONE,
    MARK_QUOTE,
    MARK_OPEN,
    MARK_CLOSE,
};

static const unsigned char marks[256] = {
    ['"'] = MARK_QUOTE,
    ['['] = MARK_OPEN,
    [']'] = MARK_CLOSE,
    ['{'] = MARK_OPEN,
    ['}'] = MARK_CLOSE,
};

const char *scan_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\r' || *p == '\n' || *p == '\t'))
        p++;
    return p;
}

/* p is behind the opening quote. */
static const char *scan_string(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '"')
            return p + 1;
        if (*p == '\\' && ++p == end)
            break;
    }
    return NULL;
}

/* p is behind the opening bracket.  All brackets count alike: the text is well-formed. */
static const char *scan_container(const char *p, const char *end)
{
    unsigned int depth = 1;

    while (p && p < end) {
        switch (marks[(unsigned char)*p++]) {
        case MARK_QUOTE:
            p = scan_string(p, end);
            break;
        case MARK_OPEN:
            depth++;
            break;
        case MARK_CLOSE:
            if (--depth == 0)
                return p;
            break;
        }
    }
    return NULL;
}

const char *scan_value(const char *p, const char *end)
{
    const char *start = p;

    if (p == end)
        return NULL;
    if (*p == '"')
        return scan_string(p + 1, end);
    if (*p == '{' || *p == '[')
        return scan_container(p + 1, end);
    while (p < end && !strchr(",]} \t\r\n", *p))
        p++;
    return p == start ? NULL : p;
}

const char *scan_member(const char *p, const char *end, struct span *key, struct span *value)
{
    const char *stop;

    if (p == end || *p != '"')
        return NULL;
    stop = scan_string(p + 1, end);
    if (!stop)
        return NULL;
    *key = (struct span){ p, (size_t)(stop - p) };
    p = scan_space(stop, end);
    if (p == end || *p != ':')
        return NULL;
    p = scan_space(p + 1, end);
    stop = scan_value(p, end);
    if (stop)
        *value = (struct span){ p, (size_t)(stop - p) };
    return stop;
}

bool scan_key_is(struct span key, const char *name)
{
    return key.len == strlen(name) + 2 && memcmp(key.at + 1, name, key.len - 2) == 0;
}

bool scan_next(const char **p, const char *after, const char *end, char close)
{
    const char *at = scan_space(after ? after : *p, end);

    *p = NULL;
    if (at == end)
        return false;
    if (*at == close) {
        *p = at + 1;
        return false;
    }
    if (after && *at != ',')
        return false;
    *p = after ? scan_space(at + 1, end) : at;
    return true;
}
