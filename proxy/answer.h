/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * answer: answers that the proxy gives itself, in QEMU's own form.
 *
 * {"return": VALUE, "id": ID} and {"id": ID, "error": {...}}, one line each, ASCII, "\r\n" at the
 * end.
 */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include <jansson.h>

#include "proxy/slot.h"
#include "qmp/err.h"

/* Answers the slot; value is stolen. */
void answer_return(struct slot *slot, json_t *value);
/* The same with a value that is JSON text already. */
void answer_return_text(struct slot *slot, const char *value, size_t len);
/* Answers the slot and clears the error. */
void answer_error(struct slot *slot, struct err *err);

/* new: a whole line of JSON; value is stolen. */
char *answer_line(json_t *value, size_t *len);

#endif
