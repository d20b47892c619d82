/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: whatever a client sends, and however it is cut, the same frames come out, and
 * each message holds what fuzz.h requires.
 *
 * The first byte chooses the limit, the second the cuts; the rest is the stream.
 */
#include <string.h>

#include "qmp/framer.h"
#include "tests/fuzz/fuzz.h"

#define PIECE_MAX 24

/* How a stream is cut: from byte to byte, all alike, or as a generator of numbers says. */
struct cuts {
    uint32_t state;
    uint8_t how;
};

static size_t next_cut(struct cuts *cuts)
{
    if (cuts->how < 8)
        return cuts->how + 1u;
    cuts->state = cuts->state * UINT32_C(1664525) + UINT32_C(1013904223);
    return 1 + (cuts->state >> 16) % PIECE_MAX;
}

/* One message: what it is depends on its bytes alone, so it is looked at in one of the two runs. */
static void look_at(struct span text)
{
    char *copy = fuzz_copy(text.at, text.len);
    struct err err = ERR_INIT;
    struct message m;

    if (!fuzz_check_request(copy, text.len, true, &m, &err)) {
        FUZZ_REQUIRE(err.set && err.desc[0]);
        err_clear(&err);
    }
    if (m.has_id)
        fuzz_check_id(m.id);
    fuzz_check_reply(copy, text.len, m.id);
    free(copy);
}

/* Feeds one piece; goes on with the hash of all that came out. */
static uint64_t feed(struct framer *framer, const uint8_t *data, size_t len, bool look,
                     uint64_t hash)
{
    char *piece = fuzz_copy(data, len);
    size_t at = 0, idle = 0;

    while (at < len) {
        struct frame frame;
        size_t used = framer_feed(framer, piece + at, len - at, &frame);

        FUZZ_REQUIRE(used <= len - at && (frame.kind != FRAME_NONE || used == len - at));
        idle = used ? 0 : idle + 1;
        FUZZ_REQUIRE(idle < 2);
        at += used;
        if (frame.kind == FRAME_NONE)
            break;          /* how often that is depends on the cuts */
        hash = fuzz_hash(hash, &frame.kind, sizeof(frame.kind));
        if (frame.kind != FRAME_MESSAGE) {
            FUZZ_REQUIRE(frame.err.set && !frame.err.data);
            hash = fuzz_hash(hash, frame.err.desc, strlen(frame.err.desc));
            continue;
        }
        FUZZ_REQUIRE(frame.text.len > 0);
        hash = fuzz_hash(hash, frame.text.at, frame.text.len);
        if (look)
            look_at(frame.text);
    }
    free(piece);
    return hash;
}

static uint64_t run(const uint8_t *data, size_t size, size_t max_bytes, const struct cuts *how)
{
    struct framer *framer = framer_new(max_bytes);
    struct cuts cuts = how ? *how : (struct cuts){ 0 };
    uint64_t hash = FUZZ_HASH_START;
    size_t pending;

    for (size_t at = 0, n; at < size; at += n) {
        n = how ? next_cut(&cuts) : size;
        if (n > size - at)
            n = size - at;
        hash = feed(framer, data + at, n, !how, hash);
    }
    /* A byte that ended a token was read again, so what is left over depends on no cut either. */
    pending = framer_pending(framer);
    framer_free(framer);
    return fuzz_hash(hash, &pending, sizeof(pending));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cuts cuts;
    size_t max_bytes;

    if (size < 2)
        return 0;
    max_bytes = data[0] < 192 ? 0 : data[0] - 190u;
    cuts = (struct cuts){ .state = data[1], .how = data[1] };
    FUZZ_REQUIRE(run(data + 2, size - 2, max_bytes, NULL) ==
                 run(data + 2, size - 2, max_bytes, &cuts));
    return 0;
}
