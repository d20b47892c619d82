/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/message.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "qmp/jstring.h"
#include "qmp/parse.h"
#include "qmp/utf8.h"

#define NAME_MAX_SHOWN 960      /* of a member's name, what fits into an err */

enum mistake {
    MISTAKE_NONE,
    MISTAKE_NOT_STRING,
    MISTAKE_CLASH,
    MISTAKE_NOT_OBJECT,
    MISTAKE_UNEXPECTED,
};

/*
 * QEMU walks over the members in the order of its hash table and reports the first mistake, so of
 * all mistakes the one with the least place counts.
 */
struct place {
    uint32_t bucket;
    uint32_t index;         /* in the text; in a bucket the later member comes first */
};

struct envelope {
    struct message *m;
    bool oob_enabled;
    bool has_execute, has_oob;
    uint32_t members;

    enum mistake mistake;
    struct place place;
    struct span member;     /* where the mistake is */

    struct span exec_key;   /* the one of execute and exec-oob that was met first */
    struct place exec_place;
    struct span clash_with;
};

/* Where a key lies in QEMU's hash table (qobject/qdict.c: tdb_hash, 512 buckets). */
static uint32_t key_bucket(struct span key)
{
    struct jstring s = jstring_start(key);
    uint32_t sum = 0, shift = 0, bytes = 0;
    int32_t c;

    while ((c = jstring_next(&s)) >= 0) {
        char utf8[4];
        size_t n = utf8_encode(utf8, c);

        for (size_t i = 0; i < n; i++, bytes++) {
            sum += (uint32_t)(unsigned char)utf8[i] << shift;
            shift = (shift + 5) % 24;
        }
    }
    sum += UINT32_C(0x238f13af) * bytes;
    return (UINT32_C(1103515243) * sum + 12345) % 512;
}

static bool place_before(struct place a, struct place b)
{
    return a.bucket != b.bucket ? a.bucket < b.bucket : a.index > b.index;
}

static void note_mistake(struct envelope *e, enum mistake mistake, struct span key,
                         struct place place)
{
    if (e->mistake != MISTAKE_NONE && !place_before(place, e->place))
        return;
    e->mistake = mistake;
    e->member = key;
    e->place = place;
}

static void take_execute(struct envelope *e, struct span key, const struct parse_value *value,
                         struct place place)
{
    if (value->first != TOKEN_STRING) {
        note_mistake(e, MISTAKE_NOT_STRING, key, place);
    } else if (!e->exec_key.at) {
        e->m->execute = value->text;
        e->exec_key = key;
        e->exec_place = place;
    } else if (place_before(place, e->exec_place)) {
        /* QEMU meets the two in the other order, and finds the clash at the second. */
        e->clash_with = key;
        note_mistake(e, MISTAKE_CLASH, e->exec_key, e->exec_place);
    } else {
        e->clash_with = e->exec_key;
        note_mistake(e, MISTAKE_CLASH, key, place);
    }
}

static void take_member(struct span key, const struct parse_value *value, void *opaque)
{
    struct envelope *e = opaque;
    struct place place = { .bucket = key_bucket(key), .index = e->members++ };

    if (jstring_is(key, "execute")) {
        e->has_execute = true;
        take_execute(e, key, value, place);
    } else if (e->oob_enabled && jstring_is(key, "exec-oob")) {
        e->has_oob = true;
        take_execute(e, key, value, place);
    } else if (jstring_is(key, "arguments")) {
        e->m->arguments = value->text;
        if (value->first != TOKEN_LCURLY)
            note_mistake(e, MISTAKE_NOT_OBJECT, key, place);
    } else if (jstring_is(key, "id")) {
        e->m->id = value->text;
        e->m->has_id = true;
    } else {
        note_mistake(e, MISTAKE_UNEXPECTED, key, place);
    }
}

/* A key, decoded and fit for an err. */
static void show_key(struct span key, char out[NAME_MAX_SHOWN])
{
    char raw[NAME_MAX_SHOWN];
    size_t len = jstring_decode(key, raw, sizeof(raw));

    utf8_clean(out, NAME_MAX_SHOWN, raw, len < sizeof(raw) ? len : strlen(raw));
}

static bool report_mistake(const struct envelope *e, struct err *err)
{
    char name[NAME_MAX_SHOWN], other[NAME_MAX_SHOWN];

    show_key(e->member, name);
    switch (e->mistake) {
    case MISTAKE_NOT_STRING:
        err_set(err, NULL, "QMP input member '%s' must be a string", name);
        break;
    case MISTAKE_CLASH:
        show_key(e->clash_with, other);
        err_set(err, NULL, "QMP input member '%s' clashes with '%s'", name, other);
        break;
    case MISTAKE_NOT_OBJECT:
        err_set(err, NULL, "QMP input member 'arguments' must be an object");
        break;
    case MISTAKE_UNEXPECTED:
        err_set(err, NULL, "QMP input member '%s' is unexpected", name);
        break;
    case MISTAKE_NONE:
        assert(false);
    }
    return false;
}

static void take_name(struct message *m)
{
    size_t len = jstring_decode(m->execute, m->command, sizeof(m->command));

    m->name_long = len >= sizeof(m->command);
    m->name_escaped = memchr(m->execute.at, '\\', m->execute.len) != NULL;
}

bool message_parse_request(const char *text, size_t len, bool oob_enabled, struct message *m,
                           struct err *err)
{
    struct envelope e = { .m = m, .oob_enabled = oob_enabled };
    struct parse_value top;

    *m = (struct message){ .oob = false };
    if (!parse_text(text, len, take_member, &e, &top, err)) {
        *m = (struct message){ .oob = false };
        return false;
    }
    m->text = top.text;
    m->oob = e.has_oob && !e.has_execute; /* whatever else is wrong (monitor/qmp.c, qmp_is_oob) */
    if (top.first != TOKEN_LCURLY) {
        err_set(err, NULL, "QMP input must be a JSON object");
        return false;
    }
    if (e.mistake != MISTAKE_NONE)
        return report_mistake(&e, err);
    if (!e.exec_key.at) {
        err_set(err, NULL, "QMP input lacks member 'execute'");
        return false;
    }
    take_name(m);
    return true;
}
