/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store_judge: what the store makes of state folders (tests/qemu/test_torn.py).
 *
 * Reads the name of a folder a line; answers with a line of JSON: { record, journal, process },
 * as a proxy would find them at its start, or { refused }, why it would not start.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proxy/store.h"

static json_t *judge(const char *path)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(path, &err);
    json_t *journal = NULL, *process = NULL, *verdict;

    if (store && store_read_journal(store, &journal, &err) &&
        store_read_process(store, false, &process, &err)) {
        verdict = json_pack("{s:O, s:O?, s:O?}", "record", store->state, "journal", journal, "process",
                            process);
    } else {
        verdict = json_pack("{s:s}", "refused", err.desc);
    }
    json_decref(journal);
    json_decref(process);
    err_clear(&err);
    store_free(store);
    return verdict;
}

int main(void)
{
    char path[4096];

    while (fgets(path, sizeof(path), stdin)) {
        json_t *verdict;

        path[strcspn(path, "\n")] = '\0';
        verdict = judge(path);
        json_dumpf(verdict, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(verdict);
    }
    return 0;
}
