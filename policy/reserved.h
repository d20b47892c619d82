/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reserved: names that clients must not give to what they make.
 *
 * Nodes, jobs and descriptors that begin with RESERVED_PREFIX are the proxy's own: a recovery closes and ends
 * what it finds under such a name, and a client's would be taken for one of them.  Clients may name what is there.
 */
#ifndef POLICY_RESERVED_H
#define POLICY_RESERVED_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

#define RESERVED_PREFIX "qsnap-"

/* Can the command give a name at all?  Only then its arguments have to be looked at. */
bool reserved_concerned(const char *command);

/* Does it give none of ours?  Else err says which ("bad-name").  arguments: an object, NULL, or
 * their text where they are none that can be looked into; then it must not be in there at all. */
bool reserved_check(const char *command, const json_t *arguments, struct err *err);

#endif
