/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The half of message.h that looks at what QEMU sent. */
#include "qmp/jstring.h"
#include "qmp/message.h"
#include "qmp/scan.h"

static void take_member(struct message_reply *m, struct span key, struct span value)
{
    if (scan_key_is(key, "return")) {
        m->kind = MESSAGE_RETURN;
        m->value = value;
    } else if (scan_key_is(key, "error")) {
        m->kind = MESSAGE_ERROR;
        m->value = value;
    } else if (scan_key_is(key, "QMP")) {
        m->kind = MESSAGE_GREETING;
        m->value = value;
    } else if (scan_key_is(key, "data")) {
        m->value = value;
    } else if (scan_key_is(key, "event") && value.at[0] == '"') {
        m->kind = MESSAGE_EVENT;
        jstring_decode(value, m->event, sizeof(m->event));
    }
}

/* What goes with the member from start to stop when it is taken out: the comma behind it, or the
 * one before it (from after to start) when it is the last. */
static struct span member_cut(const char *after, const char *start, const char *stop,
                              const char *end)
{
    const char *p = scan_space(stop, end);

    if (p < end && *p == ',')
        stop = scan_space(p + 1, end);
    else if (after)
        start = after;
    return (struct span){ start, (size_t)(stop - start) };
}

static bool scan_members(struct message_reply *m, const char *p, const char *end)
{
    const char *after = NULL;

    p = scan_space(p, end);
    if (p == end || *p++ != '{')
        return false;
    while (scan_next(&p, after, end, '}')) {
        struct span key, value;
        const char *stop = scan_member(p, end, &key, &value);

        if (!stop)
            return false;
        if (scan_key_is(key, "id")) {
            m->has_id = true;
            m->id = value;
            m->id_member = member_cut(after, key.at, stop, end);
        } else {
            take_member(m, key, value);
        }
        after = stop;
    }
    return p && scan_space(p, end) == end;
}

bool message_scan_reply(const char *text, size_t len, struct message_reply *m)
{
    *m = (struct message_reply){ .kind = MESSAGE_OTHER };
    if (scan_members(m, text, text + len))
        return true;
    *m = (struct message_reply){ .kind = MESSAGE_OTHER };
    return false;
}
