/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/name.h"

#include <string.h>

#include "policy/reason.h"

static const char name_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

bool name_check(const char *name, struct err *err)
{
    size_t len = strlen(name);

    if (len >= 1 && len <= NAME_MAX_LEN && strspn(name, name_chars) == len && name[0] != '.' &&
        name[0] != '-')
        return true;
    err_set(err, REASON_BAD_NAME,
            "'%.80s' is no snapshot name: use 1 to %d of the characters A-Z a-z 0-9 _ . -, "
            "not beginning with '.' or '-'", name, NAME_MAX_LEN);
    err_name(err, "snapshot", name);
    return false;
}
