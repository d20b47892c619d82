/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * message: what a complete message is, told from its bytes.
 *
 * Model: nothing is copied or printed again; a message is a set of spans of the text it came in,
 * borrowed as long as that text.  A request comes from a client and is trusted in nothing.  What
 * QEMU sent is trusted to be well-formed, but nothing is read beyond its end.
 *
 * Facts (QEMU qapi/qmp-dispatch.c, monitor/qmp.c): the errors of the envelope and their words; of
 * several mistakes QEMU reports the one that comes first in the order of its hash table.  The
 * client's id comes back with errors of the envelope, never with errors of the JSON.
 */
#ifndef QMP_MESSAGE_H
#define QMP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "qmp/err.h"
#include "qmp/span.h"

#define MESSAGE_COMMAND_MAX 128
#define MESSAGE_EVENT_MAX 64

struct message {
    struct span text;           /* from '{' to '}' */
    struct span id;             /* the value; at is NULL without one */
    struct span execute;        /* the value of execute or exec-oob, quotes included */
    struct span arguments;      /* the value; at is NULL without one */
    bool has_id;
    bool oob;                   /* exec-oob instead of execute; holds after an envelope error */
    bool name_long;             /* the name was cut to fit into command */
    bool name_escaped;          /* the name was written with \ escapes */
    char command[MESSAGE_COMMAND_MAX];  /* the name, decoded; U+0000 in it is C0 80 */
};

/*
 * Checks a message as QEMU does and takes it apart.  oob_enabled says whether the client has
 * negotiated oob: without, exec-oob is an unexpected member.  *m is overwritten without being
 * looked at; after an error of the envelope id and has_id hold, after an error of the JSON
 * nothing does.
 */
bool message_parse_request(const char *text, size_t len, bool oob_enabled, struct message *m,
                           struct err *err);

enum message_kind {
    MESSAGE_OTHER,      /* none of the following; not well-formed included */
    MESSAGE_RETURN,
    MESSAGE_ERROR,
    MESSAGE_EVENT,
    MESSAGE_GREETING,
};

struct message_reply {
    enum message_kind kind;
    struct span value;          /* of return, error, data (event) or QMP; at is NULL without one */
    bool has_id;
    struct span id;             /* the value */
    struct span id_member;      /* the member, with one comma and the space around that comma */
    char event[MESSAGE_EVENT_MAX];      /* the event's name, decoded */
};

/*
 * Looks at the top of what QEMU sent, without validating what is inside of values.  False, with
 * kind MESSAGE_OTHER, when the text is no object to its end.  The spans are borrowed from text.
 */
bool message_scan_reply(const char *text, size_t len, struct message_reply *m);

#endif
