/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmdlines_file: the corpus of QEMU command lines in tests/data/cmdlines.
 *
 * Model: a file is a row of entries.  "[NAME]" begins one; then come its fields, one a line: a word
 * and its text.  A line that begins with a blank goes on with the text of the one before; "#" begins
 * a comment.  In `line` words are parted by blanks; '...' and "..." are taken as they are (there is
 * no other quoting, so that a shell reads the same).
 *
 *   from      what such a line comes from
 *   line      the command line as a user gives it
 *   kind      respawn, replace (a second process cannot share something), refused
 *   - and +   options that the second process does not get, and those that it gets in their place
 *   late      QMP commands for when the first process has ended, one a field
 *   reason    of a refusal: its word; `argument`: what it names; `says`: a part of its sentence
 *   why       why it is so
 *   start     the line can be started on a test machine, and test_cmdlines.py does; what comes of it: here
 *             (a revert by the method that kind names), or the reason by which snapshot-create refuses for what is not in the line
 */
#ifndef TESTS_UNIT_CMDLINES_FILE_H
#define TESTS_UNIT_CMDLINES_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct cmdline {
    char *name, *from, *line, *kind, *reason, *argument, *says, *why, *start;
    char *outcome;      /* the fields -, + and late as they stand, one a line */
};

struct cmdlines {
    struct cmdline *v;
    size_t n;
};

/* Adds the entries of srcdir/tests/data/cmdlines/NAME.txt; fails the test when it cannot. */
void cmdlines_load(struct cmdlines *all, const char *name);
void cmdlines_clear(struct cmdlines *all);

/* new: the words of a line, NULL-terminated; args_strv_free() it. */
char **cmdlines_split(const char *line, int *argc);

#endif
