/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/schema.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"
#include "qmp/scan.h"

#define OURS_MAX 64             /* entries that may be added at once */
#define JOB_TYPES_MAX 256       /* bytes that are added to one entry */

struct merge {
    const char *const *ours;    /* whole entries */
    size_t count;
    uint64_t there;             /* bit i: QEMU has ours[i], which is not needed then */
    char *out;
    size_t len;
    bool any;                   /* an element has been put */
    bool job_type;              /* that enum has been put */
};

/* The value of "name" in the object, quotes included. */
static struct span entry_name(struct span entry)
{
    const char *end = entry.at + entry.len, *after = NULL, *p = entry.at + 1;

    if (entry.at[0] != '{')
        return (struct span){ NULL, 0 };
    while (scan_next(&p, after, end, '}')) {
        struct span key, value;

        after = scan_member(p, end, &key, &value);
        if (!after)
            break;
        if (scan_key_is(key, "name") && value.at[0] == '"')
            return value;
    }
    return (struct span){ NULL, 0 };
}

static struct span text_name(const char *text)
{
    return entry_name((struct span){ text, strlen(text) });
}

/* Built-in types are listed by QEMU only where something uses them, and are the same for all. */
static bool is_builtin(const char *entry)
{
    return strstr(entry, "\"meta-type\":\"builtin\"") || strstr(entry, "\"name\":\"[str]\"");
}

static void put(struct merge *m, const char *from, size_t n)
{
    if (m->any) {
        memcpy(m->out + m->len, ", ", 2);
        m->len += 2;
    }
    memcpy(m->out + m->len, from, n);
    m->len += n;
    m->any = true;
}

/* The types of our jobs that are none of QEMU's, in front of those of its enum JobType. */
static const char *job_types(struct span key)
{
    if (scan_key_is(key, "members"))
        return "{\"name\": \"snapshot-create\"}, {\"name\": \"snapshot-revert\"}, ";
    if (scan_key_is(key, "values"))
        return "\"snapshot-create\", \"snapshot-revert\", ";
    return NULL;
}

/* Names of types are numbers: JobType is the enum that has QEMU's own snapshot job and amend. */
static bool is_job_type(struct span entry)
{
    return memmem(entry.at, entry.len, "\"snapshot-load\"", 15) &&
           memmem(entry.at, entry.len, "\"amend\"", 7) &&
           memmem(entry.at, entry.len, "\"enum\"", 6) &&
           !memmem(entry.at, entry.len, "\"snapshot-revert\"", 17);
}

static void put_job_type(struct merge *m, struct span entry)
{
    const char *end = entry.at + entry.len, *after = NULL, *p = entry.at + 1, *copied = entry.at;

    put(m, "", 0);
    while (scan_next(&p, after, end, '}')) {
        const char *more;
        struct span key, value;

        after = scan_member(p, end, &key, &value);
        if (!after)
            break;
        more = job_types(key);
        if (!more || value.len < 3 || value.at[0] != '[')
            continue;
        m->len = (size_t)((char *)mempcpy(m->out + m->len, copied,
                                          (size_t)(value.at + 1 - copied)) - m->out);
        m->len = (size_t)(stpcpy(m->out + m->len, more) - m->out);
        copied = value.at + 1;
    }
    memcpy(m->out + m->len, copied, (size_t)(end - copied));
    m->len += (size_t)(end - copied);
}

/* Puts one entry of QEMU's, unless ours takes its place. */
static bool put_theirs(struct merge *m, struct span entry, bool replace)
{
    struct span name = entry_name(entry);

    if (!name.at)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        struct span own = text_name(m->ours[i]);

        if (own.len != name.len || memcmp(own.at, name.at, name.len) != 0)
            continue;
        if (replace && !is_builtin(m->ours[i]))
            return true;
        m->there |= UINT64_C(1) << i;
    }
    if (replace && !m->job_type && is_job_type(entry)) {
        put_job_type(m, entry);
        m->job_type = true;
    } else {
        put(m, entry.at, entry.len);
    }
    return true;
}

static bool put_array(struct merge *m, struct span array, bool replace)
{
    const char *end = array.at + array.len, *after = NULL, *p = array.at + 1;

    if (array.len == 0 || array.at[0] != '[')
        return false;
    while (scan_next(&p, after, end, ']')) {
        after = scan_value(p, end);
        if (!after || !put_theirs(m, (struct span){ p, (size_t)(after - p) }, replace))
            return false;
    }
    if (!p)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        if (!(m->there & UINT64_C(1) << i))
            put(m, m->ours[i], strlen(m->ours[i]));
    }
    return true;
}

/* Appends our entries to QEMU's array.  replace says whose is kept of two of the same name. */
static char *merge(struct span array, const char *const *ours, bool replace, size_t *len)
{
    struct merge m = { .ours = ours };
    size_t most = array.len * 2 + JOB_TYPES_MAX + sizeof("[]");

    for (; ours[m.count] && m.count < OURS_MAX; m.count++)
        most += strlen(ours[m.count]) + 2;
    m.out = alloc_bytes(most);
    m.out[m.len++] = '[';
    if (!put_array(&m, array, replace)) {
        free(m.out);
        return NULL;
    }
    m.out[m.len++] = ']';
    m.out[m.len] = '\0';
    *len = m.len;
    return m.out;
}

char *schema_merge_commands(struct span array, const char *const *names, size_t *len)
{
    const char *ours[OURS_MAX + 1] = { NULL };
    char *entries[OURS_MAX], *merged;
    size_t n = 0;

    for (; names[n] && n < OURS_MAX; n++) {
        size_t size = strlen(names[n]) + sizeof("{\"name\": \"\"}");

        entries[n] = alloc_bytes(size);
        strcpy(stpcpy(stpcpy(entries[n], "{\"name\": \""), names[n]), "\"}");
        ours[n] = entries[n];
    }
    merged = merge(array, ours, false, len);
    while (n > 0)
        free(entries[--n]);
    return merged;
}

char *schema_merge_qmp_schema(struct span array, size_t *len)
{
    return merge(array, schema_entries, true, len);
}
