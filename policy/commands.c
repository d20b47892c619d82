/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/commands.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *const command_synthetic[] = {
    "snapshot-create", "snapshot-revert", "snapshot-delete", "query-snapshots", NULL,
};

struct command_row {
    const char *name;
    enum command_class class;
};

/* Sorted by name. */
static const struct command_row command_rows[] = {
    { "add-fd", COMMAND_PASS },
    { "announce-self", COMMAND_PASS },
    { "balloon", COMMAND_PASS },
    { "block-export-add", COMMAND_CONFIG },
    { "block-export-del", COMMAND_CONFIG },
    { "block_resize", COMMAND_CONFIG },
    { "block_set_io_throttle", COMMAND_CONFIG },
    { "blockdev-add", COMMAND_CONFIG },
    { "blockdev-change-medium", COMMAND_CONFIG },
    { "blockdev-close-tray", COMMAND_CONFIG },
    { "blockdev-del", COMMAND_CONFIG },
    { "blockdev-insert-medium", COMMAND_CONFIG },
    { "blockdev-open-tray", COMMAND_CONFIG },
    { "blockdev-remove-medium", COMMAND_CONFIG },
    { "blockdev-reopen", COMMAND_CONFIG },
    { "change-vnc-password", COMMAND_PASS },
    { "chardev-add", COMMAND_CONFIG },
    { "chardev-change", COMMAND_CONFIG },
    { "chardev-remove", COMMAND_CONFIG },
    { "chardev-send-break", COMMAND_PASS },
    { "closefd", COMMAND_PASS },
    { "device-list-properties", COMMAND_PASS },
    { "device_add", COMMAND_CONFIG },
    { "device_del", COMMAND_CONFIG },
    { "display-update", COMMAND_PASS },
    { "eject", COMMAND_CONFIG },
    { "expire_password", COMMAND_PASS },
    { "getfd", COMMAND_PASS },
    { "human-monitor-command", COMMAND_HUMAN },
    { "input-send-event", COMMAND_PASS },
    { "memsave", COMMAND_PASS },
    { "nbd-server-add", COMMAND_CONFIG },
    { "nbd-server-remove", COMMAND_CONFIG },
    { "nbd-server-start", COMMAND_CONFIG },
    { "nbd-server-stop", COMMAND_CONFIG },
    { "netdev_add", COMMAND_CONFIG },
    { "netdev_del", COMMAND_CONFIG },
    { "object-add", COMMAND_CONFIG },
    { "object-del", COMMAND_CONFIG },
    { "pmemsave", COMMAND_PASS },
    { "qmp_capabilities", COMMAND_PASS },
    { "qom-get", COMMAND_PASS },
    { "qom-list", COMMAND_PASS },
    { "qom-list-properties", COMMAND_PASS },
    { "qom-list-types", COMMAND_PASS },
    { "qom-set", COMMAND_CONFIG },
    { "quit", COMMAND_PASS },
    { "remove-fd", COMMAND_PASS },
    { "ringbuf-read", COMMAND_PASS },
    { "ringbuf-write", COMMAND_PASS },
    { "screendump", COMMAND_PASS },
    { "send-key", COMMAND_PASS },
    { "set_link", COMMAND_PASS },
    { "set_password", COMMAND_PASS },
    { "system_powerdown", COMMAND_PASS },
    { "trace-event-get-state", COMMAND_PASS },
    { "trace-event-set-state", COMMAND_PASS },
    { "x-blockdev-change", COMMAND_CONFIG },
    { "x-blockdev-set-iothread", COMMAND_CONFIG },
};

static int command_compare(const void *name, const void *row)
{
    return strcmp(name, ((const struct command_row *)row)->name);
}

enum command_class command_classify(const char *name)
{
    const struct command_row *row;

    if (strncmp(name, "query-", 6) == 0 || strncmp(name, "x-query-", 8) == 0)
        return COMMAND_PASS;
    row = bsearch(name, command_rows, sizeof(command_rows) / sizeof(command_rows[0]),
                  sizeof(command_rows[0]), command_compare);
    return row ? row->class : COMMAND_CONFLICT;
}

bool command_is_synthetic(const char *name)
{
    for (size_t i = 0; command_synthetic[i]; i++)
        if (strcmp(name, command_synthetic[i]) == 0)
            return true;
    return false;
}

bool command_human_is_harmless(const char *line)
{
    static const char *const harmless[] = { "info", "help", "?", "print", "p", "x", "xp", NULL };
    size_t len;

    line += strspn(line, " \t");
    len = strcspn(line, " \t/");
    for (size_t i = 0; harmless[i]; i++)
        if (strlen(harmless[i]) == len && strncmp(line, harmless[i], len) == 0)
            return true;
    return false;
}
