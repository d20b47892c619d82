/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/leftovers.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/fdnames.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* Behind a name that another client has as well, then a number. */
#define LEFTOVERS_SUFFIX ".qmp-proxy-"

/* Until the commands of a client that has gone have ended. */
#define LEFTOVERS_RETRY_MS 100

struct fd_name {
    TAILQ_ENTRY(fd_name) next;
    char *name, *upstream;
    const struct client *owner; /* NULL: has gone */
    bool held;                  /* QEMU has it, as far as is known */
};

struct leftovers {
    struct daemon *daemon;
    TAILQ_HEAD(, fd_name) names;        /* the latest first */
    unsigned count;             /* of suffixes */
    bool sets;                  /* a client has added one */
    struct event *tidy;
};

static void fd_name_free(struct leftovers *leftovers, struct fd_name *name)
{
    TAILQ_REMOVE(&leftovers->names, name, next);
    free(name->name);
    free(name->upstream);
    free(name);
}

/* ---- names ---- */

/* What the client means by the name, or NULL. */
static struct fd_name *fd_name_of(struct leftovers *leftovers, const struct client *client,
                                  const char *name)
{
    struct fd_name *entry, *orphan = NULL;

    TAILQ_FOREACH(entry, &leftovers->names, next) {
        if (strcmp(entry->name, name) != 0)
            continue;
        if (entry->owner == client)
            return entry;
        if (!entry->owner && !orphan)
            orphan = entry;
    }
    return orphan;
}

static struct fd_name *fd_name_upstream(struct leftovers *leftovers, const char *upstream)
{
    struct fd_name *entry;

    TAILQ_FOREACH(entry, &leftovers->names, next)
        if (strcmp(entry->upstream, upstream) == 0)
            return entry;
    return NULL;
}

static struct fd_name *fd_name_add(struct leftovers *leftovers, const struct client *client,
                                   const char *name)
{
    struct fd_name *entry = alloc_zeroed(1, sizeof(*entry));

    entry->name = alloc_copy(name);
    entry->upstream = alloc_copy(name);
    /* A client may give a name that looks like one of ours. */
    while (fd_name_upstream(leftovers, entry->upstream)) {
        free(entry->upstream);
        entry->upstream = alloc_print("%s" LEFTOVERS_SUFFIX "%u", name, ++leftovers->count);
    }
    entry->owner = client;
    TAILQ_INSERT_HEAD(&leftovers->names, entry, next);
    return entry;
}

struct renaming {
    struct leftovers *leftovers;
    const struct client *client;
    bool adds;                  /* the command is getfd */
    char *unknown;              /* what stands for another client's name */
};

static const char *leftovers_rename_cb(const char *name, void *arg)
{
    struct renaming *renaming = arg;
    struct leftovers *leftovers = renaming->leftovers;
    struct fd_name *entry = fd_name_of(leftovers, renaming->client, name);

    if (!entry && renaming->adds)
        entry = fd_name_add(leftovers, renaming->client, name);
    if (renaming->adds)
        entry->owner = renaming->client;
    if (entry)
        return strcmp(entry->upstream, name) == 0 ? NULL : entry->upstream;
    if (!fd_name_upstream(leftovers, name))
        return NULL;
    /* Another client's: one that QEMU has not, so that it says the right thing. */
    free(renaming->unknown);
    renaming->unknown = alloc_print("%s" LEFTOVERS_SUFFIX "0", name);
    return renaming->unknown;
}

char *leftovers_rename(struct leftovers *leftovers, const struct client *client,
                       const struct message *message, size_t *len)
{
    struct renaming renaming = { leftovers, client, strcmp(message->command, "getfd") == 0, NULL };
    char *arguments;

    if (!message->arguments.at || message->name_long || !fdnames_concerned(message->command))
        return NULL;
    arguments = fdnames_rewrite(message->command, message->arguments, leftovers_rename_cb, &renaming,
                                len);
    free(renaming.unknown);
    return arguments;
}

bool leftovers_concerned(const char *command)
{
    return strcmp(command, "getfd") == 0 || strcmp(command, "closefd") == 0 ||
           strcmp(command, "add-fd") == 0;
}

struct outcome {
    struct leftovers *leftovers;
    bool gets, closes, ok;
};

static const char *leftovers_done_cb(const char *name, void *arg)
{
    struct outcome *outcome = arg;
    struct fd_name *entry = fd_name_upstream(outcome->leftovers, name);

    if (entry && outcome->gets && outcome->ok)
        entry->held = true;
    else if (entry && ((outcome->gets && !entry->held) || (outcome->closes && outcome->ok)))
        fd_name_free(outcome->leftovers, entry);
    return NULL;
}

void leftovers_done(struct leftovers *leftovers, const char *command, struct span arguments, bool ok)
{
    struct outcome outcome = { leftovers, strcmp(command, "getfd") == 0,
                               strcmp(command, "closefd") == 0, ok };
    size_t len;

    if (ok && strcmp(command, "add-fd") == 0)
        leftovers->sets = true;
    if ((outcome.gets || outcome.closes) && arguments.at)
        fdnames_rewrite(command, arguments, leftovers_done_cb, &outcome, &len);
}

char *leftovers_restore(const char *text, size_t len, size_t *out_len)
{
    static const size_t mark_len = sizeof(LEFTOVERS_SUFFIX) - 1;
    char *out = alloc_bytes(len + 1);
    const char *end = text + len, *at = text;
    size_t n = 0;

    while (at < end) {
        if ((size_t)(end - at) > mark_len && memcmp(at, LEFTOVERS_SUFFIX, mark_len) == 0 &&
            isdigit((unsigned char)at[mark_len])) {
            for (at += mark_len; at < end && isdigit((unsigned char)*at); at++)
                continue;
            continue;
        }
        out[n++] = *at++;
    }
    out[n] = '\0';
    *out_len = n;
    return out;
}

/* ---- when clients go ---- */

/* A name that two have left behind: as one monitor QEMU would have closed the older one. */
static void leftovers_close_older(struct leftovers *leftovers, const struct fd_name *newer)
{
    struct fd_name *entry, *after;
    struct link *link = vm_main(leftovers->daemon->vm);

    for (entry = TAILQ_NEXT(newer, next); entry; entry = after) {
        after = TAILQ_NEXT(entry, next);
        if (entry->owner || strcmp(entry->name, newer->name) != 0)
            continue;
        if (link) {
            json_t *arguments = json_pack("{s:s}", "fdname", entry->upstream);

            link_send_command(link, "closefd", arguments, -1, NULL, NULL);
            json_decref(arguments);
        }
        fd_name_free(leftovers, entry);
    }
}

/* The last client has gone: QEMU closes the sets that nothing uses when its monitor is closed. */
static void leftovers_tidy(struct leftovers *leftovers)
{
    struct timeval retry = { .tv_usec = LEFTOVERS_RETRY_MS * 1000 };
    struct daemon *daemon = leftovers->daemon;

    if (!leftovers->sets || client_first(&daemon->limits))
        return;
    if (daemon->operation || !daemon->ready || !vm_renew_main(daemon->vm))
        event_add(leftovers->tidy, &retry);
    else
        leftovers->sets = false;
}

static void leftovers_tidy_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    leftovers_tidy(arg);
}

/* Do sets outlive the monitors that they were added by? */
static bool leftovers_sets_stay(const struct daemon *daemon)
{
    json_t *greeting = json_loads(daemon->greeting, 0, NULL);
    const json_t *version = json_object_get(json_object_get(json_object_get(greeting, "QMP"),
                                                            "version"), "qemu");
    json_int_t major = json_integer_value(json_object_get(version, "major"));
    json_int_t minor = json_integer_value(json_object_get(version, "minor"));

    json_decref(greeting);
    return major > 9 || (major == 9 && minor >= 1);
}

void leftovers_client_gone(struct leftovers *leftovers, const struct client *client)
{
    struct fd_name *entry;

    TAILQ_FOREACH(entry, &leftovers->names, next) {
        if (entry->owner != client)
            continue;
        entry->owner = NULL;
        leftovers_close_older(leftovers, entry);
    }
    if (leftovers->sets && leftovers_sets_stay(leftovers->daemon))
        leftovers->sets = false;
    leftovers_tidy(leftovers);
}

void leftovers_forget(struct leftovers *leftovers)
{
    while (!TAILQ_EMPTY(&leftovers->names))
        fd_name_free(leftovers, TAILQ_FIRST(&leftovers->names));
    leftovers->sets = false;
}

struct leftovers *leftovers_new(struct daemon *daemon)
{
    struct leftovers *leftovers = alloc_zeroed(1, sizeof(*leftovers));

    leftovers->daemon = daemon;
    TAILQ_INIT(&leftovers->names);
    leftovers->tidy = event_new(daemon->base, -1, 0, leftovers_tidy_cb, leftovers);
    if (!leftovers->tidy)
        abort();
    return leftovers;
}

void leftovers_free(struct leftovers *leftovers)
{
    leftovers_forget(leftovers);
    event_free(leftovers->tidy);
    free(leftovers);
}
