/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice: a message with another id.
 *
 * Model: all bytes stay as they were written, but for the value of the top-level "id", whitespace
 * between the tokens of a request (QEMU reads its monitor byte by byte), and in a client's id what
 * QEMU takes and other readers of JSON don't.
 *
 * Rules: the text is one that message_parse_request() or message_scan_reply() took.  Results are
 * *new*, from malloc, and end in a NUL that is not counted.
 */
#ifndef QMP_SPLICE_H
#define QMP_SPLICE_H

#include <jansson.h>
#include <stddef.h>

#include "qmp/message.h"
#include "qmp/span.h"

/* new: the request for QEMU, without a line's end.  id is the text of a JSON value; it replaces the
 * client's id or is put in when there is none.  NULL: the id stays as it is. */
char *splice_request(const struct message *m, const char *id, size_t *len);

/*
 * new: a line for a client, with "\r\n".  *id is the value of the client's id as the client wrote
 * it (message.id); id is NULL, or id->at is, when it gave none: the member is taken out.  Where
 * reply has no id and the client gave one, it is put in as QEMU would.
 */
char *splice_reply(const char *text, size_t text_len, const struct message_reply *reply,
                   const struct span *id, size_t *len);

/* new: the arguments as data, NULL when there are none or jansson cannot hold them.  What QEMU's
 * dialect allows (single quotes, ...) is understood.  flags: jansson's. */
json_t *splice_arguments(const struct message *m, size_t flags);

/* new: the client's id as strict JSON on one line: in double quotes, whitespace is blanks. */
char *splice_id(struct span id, size_t *len);

#endif
