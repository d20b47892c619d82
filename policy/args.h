/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args: a QEMU command line as data.
 *
 * Model: argv[0] is the binary; then one struct arg per option, in order, with the word that
 * follows it where the options table says that one does.  A word that is no option is a bare image
 * (QEMU takes it for the first hard disk).  An option that is not in the table is kept, and so is a
 * word without a dash that follows it: whether it is its value or an image nobody can tell.
 *
 * Rules: pure data, no files are touched.  What is not changed is rendered as it was given.
 * Numbers, ids and defaults follow QEMU's system/vl.c (softmmu/vl.c in 7.2) and chardev/char.c.
 */
#ifndef POLICY_ARGS_H
#define POLICY_ARGS_H

#include "policy/options_table.h"
#include "qmp/err.h"

#include <stdbool.h>
#include <stddef.h>

struct args;

struct arg {
    char *word;                     /* as given, "-drive" or "--drive"; NULL for a bare word */
    const char *name;               /* word without its dashes (borrowed from word), or NULL */
    char *value;                    /* or NULL */
    const struct option_row *row;   /* NULL: unknown option, or a bare word */
    bool image;                     /* a bare word that QEMU takes for an image */
};

/* new, or NULL with err set (an option without the value that it needs, "-" alone). */
struct args *args_parse(int argc, char *const argv[], struct err *err);
struct args *args_copy(const struct args *args);
void args_free(struct args *args);

/* new: NULL-terminated, argv[0] included; args_strv_free() it. */
char **args_render(const struct args *args);
void args_strv_free(char **argv);

size_t args_count(const struct args *args);
/* borrowed until the next change of args. */
const struct arg *args_at(const struct args *args, size_t i);

/* Changes, by position.  Strings are copied; value NULL for options without one. */
void args_insert(struct args *args, size_t at, const char *word, const char *value);
void args_append(struct args *args, const char *word, const char *value);
void args_replace(struct args *args, size_t at, const char *word, const char *value);
void args_remove(struct args *args, size_t at);

/* Getters; strings are borrowed until the args are freed. */
const char *args_binary(const struct args *args);
const char *args_name(const struct args *args);         /* -name NAME or guest=NAME, or NULL */
const char *args_machine(const struct args *args);      /* type of -machine / -M, or NULL */
/* Says the type of the machine once more, behind all others: QEMU merges them, the last word stands. */
void args_set_machine(struct args *args, const char *type);
bool args_has(const struct args *args, const char *name);
/* The value of the last option of that name, or NULL. */
const char *args_value(const struct args *args, const char *name);
/* The name of the first option that is not in the table ("-foo"), or NULL. */
const char *args_unknown(const struct args *args);

/* ---- monitors ---- */

enum args_monitor_kind {
    ARGS_MONITOR_UNIX_LISTEN,
    ARGS_MONITOR_UNIX_CONNECT,
    ARGS_MONITOR_TCP_LISTEN,
    ARGS_MONITOR_TCP_CONNECT,
    ARGS_MONITOR_FD_LISTEN,         /* fd is a listening socket */
    ARGS_MONITOR_FD_CONNECTED,
    ARGS_MONITOR_STDIO,
    ARGS_MONITOR__COUNT
};

struct args_monitor {
    enum args_monitor_kind kind;
    char *path;                     /* UNIX */
    char *host, *port;              /* TCP; host may be "" (any address) */
    int fd;                         /* FD, else -1 */
    bool server;
    bool wait;                      /* QEMU would not have started before a client came */
    bool pretty;
    unsigned reconnect_ms;          /* connecting kinds: 0 = never again */
    bool abstract, tight;           /* UNIX: name in the abstract namespace; its length is exact */
    char *id;                       /* chardev id: QEMU's compat_monitorN for -qmp */
};

struct args_monitors {
    struct args_monitor *v;
    size_t n;
};

#define ARGS_MONITORS_INIT { .v = NULL, .n = 0 }

/* Takes every QMP monitor (-qmp, -qmp-pretty, -mon with mode=control) out of the arguments together
 * with the -chardev that it names.  Monitors for people (-monitor, mode=readline) stay.  On an
 * error (reason "unsupported-argument") nothing has changed. */
bool args_take_monitors(struct args *args, struct args_monitors *out, struct err *err);
void args_monitors_clear(struct args_monitors *monitors);

/* What QEMU would have shown by default vanishes as soon as the command line has a -mon, and the
 * proxy adds one: `-nographic` has its monitor on the terminal, a window has its monitor console.
 * Adds the option that brings it back, when the command line as parsed had no monitor option of
 * any kind (system/vl.c: default_monitor, qemu_create_default_devices). */
void args_add_default_monitor(struct args *args);

/* Whether the machine gets the serial port that it has when nobody asks for one. */
bool args_serial_is_default(const struct args *args);

/* ---- daemonize ---- */

struct args_daemonize {
    bool daemonize;
    char *pidfile;                  /* new, or NULL */
};

/* Takes -daemonize and -pidfile out: the proxy does these for QEMU. */
void args_take_daemonize(struct args *args, struct args_daemonize *out);

#endif
