/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How U+0000 is written in a C string. */
#define ERR_NUL "\xc0\x80"

/* Cuts text that vsnprintf had to shorten back to a whole UTF-8 character, and replaces what is no
 * UTF-8 at all (a file name may hold any byte): jansson refuses to print such a string. */
static void desc_clean(char *text)
{
    size_t i = 0;

    while (text[i] != '\0') {
        unsigned char c = (unsigned char)text[i];
        size_t n;
        json_t *probe;

        if (c < 0x80) {
            i++;
            continue;
        }
        if (strncmp(text + i, ERR_NUL, 2) == 0) {
            i += 2;
            continue;
        }
        n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
        probe = n && strnlen(text + i, n) == n ? json_stringn(text + i, n) : NULL;

        if (!probe) {
            text[i++] = '?';
            continue;
        }
        json_decref(probe);
        i += n;
    }
}

static void __attribute__((format(printf, 4, 0)))
err_vset(struct err *err, const char *class_name, const char *reason, const char *fmt,
         va_list ap)
{
    assert(!err->set);
    err->set = true;
    err->class_name = class_name;
    err->reason = reason;
    err->data = NULL;
    vsnprintf(err->desc, sizeof(err->desc), fmt, ap);
    desc_clean(err->desc);
}

void err_set(struct err *err, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(err, "GenericError", reason, fmt, ap);
    va_end(ap);
}

void err_set_class(struct err *err, const char *class_name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(err, class_name, NULL, fmt, ap);
    va_end(ap);
}

void err_name(struct err *err, const char *key, const char *value)
{
    json_t *text;

    assert(err->set);
    if (!value)
        return;
    text = json_string(value);
    if (!text)
        text = json_string("(not UTF-8)");
    if (!err->data)
        err->data = json_object();
    json_object_set_new(err->data, key, text);
}

void err_prefix(struct err *err, const char *fmt, ...)
{
    char prefix[ERR_DESC_MAX / 2];
    char old[ERR_DESC_MAX];
    va_list ap;

    assert(err->set);
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof(prefix), fmt, ap);
    va_end(ap);
    memcpy(old, err->desc, sizeof(old));
    snprintf(err->desc, sizeof(err->desc), "%s: %.*s", prefix,
             (int)(sizeof(err->desc) - sizeof(prefix) - 3), old);
    desc_clean(err->desc);
}

void err_move(struct err *to, struct err *from)
{
    assert(!to->set && from->set);
    *to = *from;
    *from = (struct err)ERR_INIT;
}

/* new */
static json_t *desc_to_json(const char *desc)
{
    char text[ERR_DESC_MAX];
    size_t len = 0;

    while (*desc) {
        bool nul = strncmp(desc, ERR_NUL, 2) == 0;

        text[len++] = nul ? '\0' : *desc;
        desc += nul ? 2 : 1;
    }
    return json_stringn(text, len);
}

json_t *err_to_json(const struct err *err)
{
    json_t *out = json_pack("{s:s, s:o}", "class", err->class_name, "desc",
                            desc_to_json(err->desc));
    json_t *data;

    assert(err->set);
    if (!err->reason && !err->data)
        return out;
    data = err->data ? json_copy(err->data) : json_object();
    if (err->reason)
        json_object_set_new(data, "reason", json_string(err->reason));
    json_object_set_new(out, "data", data);
    return out;
}

void err_clear(struct err *err)
{
    json_decref(err->data);
    *err = (struct err)ERR_INIT;
}
