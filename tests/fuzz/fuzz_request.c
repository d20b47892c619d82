/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: a text is a request or gets an error of the right kind, with and without oob;
 * what is taken from it, and the text that goes up, hold what fuzz.h requires.
 *
 * The text need not be one that the framer hands out: the checks must not lean on that.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"

static void check_error(const struct err *err)
{
    FUZZ_REQUIRE(err->set && !err->data && strcmp(err->class_name, "GenericError") == 0);
    FUZZ_REQUIRE(strncmp(err->desc, "JSON ", 5) == 0 || strncmp(err->desc, "QMP input ", 10) == 0);
}

static bool check(const char *text, size_t size, bool oob, struct message *m)
{
    struct err err = ERR_INIT;
    bool taken = fuzz_check_request(text, size, oob, m, &err);

    FUZZ_REQUIRE(oob || !m->oob);
    if (taken) {
        FUZZ_REQUIRE(!err.set && m->execute.len >= 2);
        return true;
    }
    check_error(&err);
    /* An error of the JSON has no id, one of the envelope has the client's. */
    FUZZ_REQUIRE(!m->has_id || strncmp(err.desc, "QMP input ", 10) == 0);
    err_clear(&err);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_copy(data, size);
    struct message with, without;
    bool taken = check(text, size, true, &with);

    /* Without oob nothing is taken that is refused with it; but exec-oob is another member then. */
    if (check(text, size, false, &without))
        FUZZ_REQUIRE(taken && !with.oob && strcmp(with.command, without.command) == 0);
    FUZZ_REQUIRE(with.has_id == without.has_id && fuzz_same_span(with.id, without.id));
    if (with.has_id)
        fuzz_check_id(with.id);
    free(text);
    return 0;
}
