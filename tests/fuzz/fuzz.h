/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz: what the libFuzzer targets share: memory of the exact size, and what must hold of every
 * message, whichever target it came to.
 *
 * Model: a target hands bytes to the code of qmp/ in memory that ends where they end, so that
 * AddressSanitizer sees a read beyond them, and FUZZ_REQUIREs what must hold of the result.
 * Oracles are the code itself, asked another way (the framer again, the parser again), and jansson,
 * which knows nothing of ours.
 *
 * Rules: no I/O, and nothing printed but what failed: speed is what finds things.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "qmp/message.h"
#include "qmp/span.h"

#define FUZZ_REQUIRE(cond) \
    do { \
        if (!(cond)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort(); \
        } \
    } while (0)

#define FUZZ_HASH_START UINT64_C(0xcbf29ce484222325)

/* libFuzzer's own; each target has one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* new: the bytes, in memory of that size. */
char *fuzz_copy(const void *from, size_t len);

/* Goes on with a hash; two texts count as equal when their hashes are. */
uint64_t fuzz_hash(uint64_t hash, const void *from, size_t len);

bool fuzz_same_span(struct span a, struct span b);

/* Says whether the text is a value in QEMU's dialect. */
bool fuzz_is_value(struct span text);

/* new: the text as jansson reads it.  NULL, if the text is too much for jansson and right all the
 * same (a number beyond its range, U+0000 in a key); anything else that it refuses is a finding. */
json_t *fuzz_load(const char *text, size_t len);

/* A request as a client sends it.  Whether it is taken or refused, and for a taken one: with our id
 * it is still one message with the same content.  *m is as message_parse_request() leaves it. */
bool fuzz_check_request(const char *text, size_t len, bool oob, struct message *m,
                        struct err *err);

/* A client's id: it goes into replies of either kind, which then have it, on one line. */
void fuzz_check_id(struct span id);

/* A reply, which may be anything, for a client that gave that id (id.at is NULL: none). */
void fuzz_check_reply(const char *text, size_t len, struct span id);

#endif
