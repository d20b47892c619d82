/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: what comes from QEMU, for a client with an id of its own, is never read beyond
 * its end; where it is JSON the client is told the same with its own id, as jansson reads both.
 *
 * The first byte is the length of the client's id, which comes next; the rest is QEMU's text.
 */
#include <string.h>

#include "qmp/pretty.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t id_len, pretty_len;
    char *text, *id_text, *pretty;
    struct span id;

    if (size == 0)
        return 0;
    id_len = data[0] < size - 1 ? data[0] : size - 1;
    id_text = fuzz_copy(data + 1, id_len);
    text = fuzz_copy(data + 1 + id_len, size - 1 - id_len);
    size -= 1 + id_len;

    /* An id is a value that the parser took, without space around it. */
    id = (struct span){ id_text, id_len };
    if (id_len == 0 || strchr(" \t\r\n", id_text[0]) || strchr(" \t\r\n", id_text[id_len - 1]) ||
        !fuzz_is_value(id))
        id = (struct span){ NULL, 0 };
    fuzz_check_reply(text, size, id);
    pretty = pretty_message(text, size, &pretty_len);
    FUZZ_REQUIRE(pretty_len >= 2 && memcmp(pretty + pretty_len - 2, "\r\n", 2) == 0);
    free(pretty);
    free(text);
    free(id_text);
    return 0;
}
