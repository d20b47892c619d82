/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"
#include "qmp/splice.h"

/* new: QEMU writes DEL as an escape (qobject/json-writer.c), jansson does not. */
static char *answer_escape_del(const char *text)
{
    size_t len = strlen(text), n = 0;
    char *out;

    for (const char *p = text; *p; p++)
        n += *p == '\x7f';
    out = alloc_bytes(len + 5 * n + 1);
    for (n = 0; *text; text++) {
        if (*text == '\x7f')
            n = (size_t)(stpcpy(out + n, "\\u007F") - out);
        else
            out[n++] = *text;
    }
    out[n] = '\0';
    return out;
}

static char *answer_dump(json_t *value)
{
    char *text = json_dumps(value, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

    if (!text)
        abort();
    json_decref(value);
    if (strchr(text, '\x7f')) {
        char *escaped = answer_escape_del(text);

        free(text);
        text = escaped;
    }
    return text;
}

char *answer_line(json_t *value, size_t *len)
{
    char *text = answer_dump(value), *line = alloc_print("%s\r\n", text);

    free(text);
    *len = strlen(line);
    return line;
}

void answer_return_text(struct slot *slot, const char *value, size_t len)
{
    size_t id_len = 0, size;
    char *id = slot->id.at ? splice_id(slot->id, &id_len) : NULL;
    char *line = alloc_bytes(len + id_len + 64);
    char *p = line;

    p = mempcpy(p, "{\"return\": ", 11);
    p = mempcpy(p, value, len);
    if (id) {
        p = mempcpy(p, ", \"id\": ", 8);
        p = mempcpy(p, id, id_len);
    }
    p = mempcpy(p, "}\r\n", 3);
    size = (size_t)(p - line);
    slot_answer(slot, line, size);
    free(line);
    free(id);
}

void answer_return(struct slot *slot, json_t *value)
{
    char *text = answer_dump(value);

    answer_return_text(slot, text, strlen(text));
    free(text);
}

void answer_error(struct slot *slot, struct err *err)
{
    char *text = answer_dump(err_to_json(err));
    size_t id_len;
    char *id = slot->id.at ? splice_id(slot->id, &id_len) : NULL;
    char *line = id ? alloc_print("{\"id\": %s, \"error\": %s}\r\n", id, text)
                    : alloc_print("{\"error\": %s}\r\n", text);

    slot_answer(slot, line, strlen(line));
    free(line);
    free(id);
    free(text);
    err_clear(err);
}
