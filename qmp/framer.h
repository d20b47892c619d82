/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * framer: a stream of bytes to QMP messages, as QEMU's monitor does it.
 *
 * Model: messages end by structure, never by newline.  Tokens are collected while a bracket or a
 * brace is open; whatever makes both counts zero, or one negative, ends the message.  The counts
 * know nothing of each other, so ']' can end what '{' began: whether a complete sequence of
 * tokens means anything is parse.h's business.  Where QEMU would answer a mistake in the stream,
 * a frame carries the error with QEMU's words, so one FRAME_ERROR is one reply to send.
 *
 * Rules: the same frames come out however the stream is cut into calls.  Time is linear; memory is
 * that of the unfinished message, at most twice its tokens (whitespace between two tokens becomes
 * one space).
 *
 * Facts (QEMU qobject/json-streamer.c and json-lexer.c, 7.2 to 10.0): after an error in the stream
 * or a limit that was exceeded the next byte starts anew at depth 0.
 */
#ifndef QMP_FRAMER_H
#define QMP_FRAMER_H

#include <stddef.h>

#include "qmp/err.h"
#include "qmp/span.h"

/* QEMU's limits for one message. */
#define FRAMER_MAX_BYTES ((size_t)64 << 20)     /* of tokens, without the whitespace */
#define FRAMER_MAX_TOKENS ((size_t)2 << 20)
#define FRAMER_MAX_NESTING 1024

struct framer;

enum frame_kind {
    FRAME_NONE,         /* all bytes are used up, no message is complete */
    FRAME_MESSAGE,      /* a sequence of tokens is complete */
    FRAME_ERROR,        /* QEMU answers err here */
    FRAME_TOO_LARGE,    /* as FRAME_ERROR, for the limit given to framer_new() */
};

struct frame {
    enum frame_kind kind;
    struct span text;   /* FRAME_MESSAGE: from the first token to the last; borrowed until the next
                         * call on this framer.  Every token is byte for byte what was read. */
    struct err err;     /* FRAME_ERROR, FRAME_TOO_LARGE: a GenericError without data */
};

/* new.  max_bytes limits the bytes of a message's tokens; 0 is QEMU's own limit. */
struct framer *framer_new(size_t max_bytes);
void framer_free(struct framer *framer);

/*
 * Reads until a frame is complete or the bytes are used up; returns how many were used.  0 is
 * possible with a frame (the byte that ends a number or a word is read again by the next call);
 * the call after that goes on, so a loop over the remaining bytes always ends.  *out is
 * overwritten without being looked at and needs no err_clear().
 */
size_t framer_feed(struct framer *framer, const char *data, size_t len, struct frame *out);

/* Bytes of the unfinished message that are held. */
size_t framer_pending(const struct framer *framer);

#endif
