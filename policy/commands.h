/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commands: the one table of QMP commands: what each may disturb.
 *
 * A command that is not in the table is taken for one that disturbs.
 */
#ifndef POLICY_COMMANDS_H
#define POLICY_COMMANDS_H

#include <stdbool.h>

enum command_class {
    COMMAND_PASS,       /* changes nothing that a snapshot operation relies on */
    COMMAND_CONFIG,     /* changes the VM's configuration: recorded, conflicts with operations */
    COMMAND_CONFLICT,   /* conflicts with operations */
    COMMAND_HUMAN,      /* human-monitor-command: depends on the line */
    COMMAND__COUNT
};

enum command_class command_classify(const char *name);

/* The proxy's own commands; NULL at the end. */
extern const char *const command_synthetic[];

bool command_is_synthetic(const char *name);

/* A line for the human monitor that only shows something. */
bool command_human_is_harmless(const char *line);

#endif
