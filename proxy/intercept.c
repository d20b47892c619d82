/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/intercept.h"

#include <stdlib.h>
#include <string.h>

#include "policy/commands.h"
#include "policy/config.h"
#include "policy/observe.h"
#include "policy/state.h"
#include "proxy/answer.h"
#include "proxy/cmdline.h"
#include "proxy/jobs.h"
#include "proxy/leftovers.h"
#include "proxy/log.h"
#include "proxy/observer.h"
#include "qmp/alloc.h"
#include "qmp/schema.h"
#include "qmp/splice.h"

enum intercept_kind {
    INTERCEPT_NOTHING,
    INTERCEPT_COMMANDS,
    INTERCEPT_SCHEMA,
    INTERCEPT_JOBS,
    INTERCEPT_BLOCK_JOBS,
    INTERCEPT_CONFIG,
    INTERCEPT_SNAPSHOT,
};

struct intercept {
    struct daemon *daemon;
    enum intercept_kind kind;
    json_t *command;            /* CONFIG: what was asked for */
    json_t *overlays;           /* SNAPSHOT: what it puts on disks */
    bool renamed;               /* QEMU's error says other names than the client's */
    char *name, *arguments;     /* of a command that leftovers.h is told of; else NULL */
};

/* A line for the human monitor that changes the configuration? */
static bool intercept_is_human(const struct message *message)
{
    const char *line;
    json_t *arguments;
    bool is;

    if (command_classify(message->command) != COMMAND_HUMAN || !message->arguments.at)
        return false;
    arguments = splice_arguments(message, 0);
    line = state_str(arguments, "command-line");
    is = line && config_human(line);
    json_decref(arguments);
    return is;
}

static bool intercept_choose(const struct message *message, enum intercept_kind *kind)
{
    static const struct {
        const char *name;
        enum intercept_kind kind;
    } rows[] = {
        { "query-commands", INTERCEPT_COMMANDS },
        { "query-qmp-schema", INTERCEPT_SCHEMA },
        { "query-jobs", INTERCEPT_JOBS },
        { "query-block-jobs", INTERCEPT_BLOCK_JOBS },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(message->command, rows[i].name) == 0) {
            *kind = rows[i].kind;
            return true;
        }
    }
    if (command_classify(message->command) != COMMAND_CONFIG && !intercept_is_human(message))
        return false;
    *kind = INTERCEPT_CONFIG;
    return true;
}

/* new: the command as data.  What jansson cannot hold is kept as text: it can be shown, if not
 * replayed. */
static json_t *intercept_command(const struct message *message)
{
    json_t *command = json_pack("{s:s}", "execute", message->command);
    json_t *arguments = splice_arguments(message, 0);

    if (!message->arguments.at)
        return command;
    if (arguments)
        json_object_set_new(command, "arguments", arguments);
    else
        json_object_set_new(command, "unreadable", json_true());
    return command;
}

/* new: the overlays that the command puts on disks; NULL: it is none that does. */
static json_t *intercept_overlays(const struct message *message)
{
    json_t *arguments, *overlays;

    if (strncmp(message->command, "blockdev-snapshot", 17) != 0 &&
        strcmp(message->command, "transaction") != 0)
        return NULL;
    arguments = splice_arguments(message, 0);
    overlays = observe_command(message->command, arguments);
    json_decref(arguments);
    return overlays;
}

struct intercept *intercept_new(struct daemon *daemon, const struct message *message, bool renamed)
{
    bool left = leftovers_concerned(message->command);
    enum intercept_kind kind = INTERCEPT_NOTHING;
    struct intercept *intercept;
    json_t *overlays;

    if (message->name_long || message->oob)
        return NULL;
    overlays = intercept_overlays(message);
    if (!intercept_choose(message, &kind) && !left && !renamed && !overlays)
        return NULL;
    intercept = alloc_zeroed(1, sizeof(*intercept));
    intercept->daemon = daemon;
    intercept->kind = overlays ? INTERCEPT_SNAPSHOT : kind;
    intercept->overlays = overlays;
    intercept->renamed = renamed;
    if (kind == INTERCEPT_CONFIG)
        intercept->command = intercept_command(message);
    if (left) {
        intercept->name = alloc_copy(message->command);
        intercept->arguments = message->arguments.at ? span_dup(message->arguments) : NULL;
    }
    return intercept;
}

static void intercept_tell(struct intercept *intercept, bool ok)
{
    struct span arguments = { intercept->arguments,
                              intercept->arguments ? strlen(intercept->arguments) : 0 };

    if (intercept->name)
        leftovers_done(intercept->daemon->leftovers, intercept->name, arguments, ok);
    free(intercept->name);
    intercept->name = NULL;
}

void intercept_free(struct intercept *intercept)
{
    if (!intercept)
        return;
    intercept_tell(intercept, false); /* never sent, or lost */
    json_decref(intercept->command);
    json_decref(intercept->overlays);
    free(intercept->arguments);
    free(intercept);
}

/* Internal jobs out, ours in.  False when there is nothing to change. */
static bool intercept_jobs(struct intercept *intercept, struct slot *slot, struct span value)
{
    bool block = intercept->kind == INTERCEPT_BLOCK_JOBS;
    json_t *list = json_loadb(value.at, value.len, JSON_ALLOW_NUL, NULL);
    json_t *ours = block ? json_array() : jobs_list(intercept->daemon->jobs);
    bool changed = json_array_size(ours) > 0;

    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *job = json_array_get(list, i);

        if (jobs_is_internal(state_str(job, block ? "device" : "id"))) {
            json_array_remove(list, i);
            changed = true;
        }
    }
    if (changed && list) {
        json_array_extend(list, ours);
        answer_return(slot, json_incref(list));
    }
    changed = changed && list;
    json_decref(ours);
    json_decref(list);
    return changed;
}

static enum daemon_list intercept_list(enum intercept_kind kind)
{
    return kind == INTERCEPT_COMMANDS ? DAEMON_LIST_COMMANDS : DAEMON_LIST_SCHEMA;
}

static bool intercept_merge(struct intercept *intercept, struct slot *slot, struct span value)
{
    enum daemon_list list = intercept_list(intercept->kind);
    size_t len;
    char *text = intercept->kind == INTERCEPT_COMMANDS
                     ? schema_merge_commands(value, command_synthetic, &len)
                     : schema_merge_qmp_schema(value, &len);

    if (!text)
        return false;
    answer_return_text(slot, text, len);
    free(intercept->daemon->lists[list].text);
    intercept->daemon->lists[list].text = text;
    intercept->daemon->lists[list].len = len;
    return true;
}

bool intercept_answer(struct daemon *daemon, struct slot *slot, const struct message *message)
{
    enum intercept_kind kind;
    enum daemon_list list;

    if (message->oob || message->name_long || message->arguments.at ||
        !intercept_choose(message, &kind) ||
        (kind != INTERCEPT_COMMANDS && kind != INTERCEPT_SCHEMA))
        return false;
    list = intercept_list(kind);
    if (!daemon->lists[list].text)
        return false;
    answer_return_text(slot, daemon->lists[list].text, daemon->lists[list].len);
    return true;
}

static void intercept_record(struct daemon *daemon, const json_t *command)
{
    struct store *store = daemon->store;
    json_t *state = json_deep_copy(store->state);
    struct err err = ERR_INIT;

    config_add(state, cmdline_args(daemon), command);
    if (!json_equal(state, store->state) && !store_write(store, state, &err)) {
        log_error("cannot record that the configuration changed: %s", err.desc);
        err_clear(&err);
        /* What cannot be written is known as long as this proxy lives. */
        config_add(store->state, cmdline_args(daemon), command);
    }
    json_decref(state);
}

void intercept_event(struct daemon *daemon, const struct message_reply *reply)
{
    json_t *data, *command;

    /* An operation has the record: what has gone is not in its snapshot all the same. */
    if (strcmp(reply->event, "DEVICE_DELETED") != 0 || daemon->operation)
        return;
    data = json_loadb(reply->value.at, reply->value.len, 0, NULL);
    command = json_pack("{s:s, s:O*}", "execute", CONFIG_GONE, "arguments", data);
    if (data)
        intercept_record(daemon, command);
    json_decref(command);
    json_decref(data);
}

static bool intercept_return(struct intercept *intercept, struct slot *slot, struct span value)
{
    switch (intercept->kind) {
    case INTERCEPT_CONFIG:
        /* What the human monitor could not do it says in the text that it returns. */
        if (value.len < 6 || strncmp(value.at, "\"Error", 6) != 0)
            intercept_record(intercept->daemon, intercept->command);
        return false;
    case INTERCEPT_JOBS:
    case INTERCEPT_BLOCK_JOBS:
        return intercept_jobs(intercept, slot, value);
    case INTERCEPT_COMMANDS:
    case INTERCEPT_SCHEMA:
        return intercept_merge(intercept, slot, value);
    default:
        return false;
    }
}

/* QEMU's error, with the names that the client gave. */
static void intercept_restore(struct slot *slot, struct span error)
{
    size_t len, size;
    char *text = leftovers_restore(error.at, error.len, &len), *line;
    struct message_reply again;

    message_scan_reply(text, len, &again);
    line = splice_reply(text, len, &again, &slot->id, &size);
    slot_answer(slot, line, size);
    free(line);
    free(text);
}

/* The answer is QEMU's, and comes when what it tells of is recorded. */
static void intercept_hold(struct intercept *intercept, struct slot *slot, struct span text,
                           const struct message_reply *reply)
{
    size_t size;
    char *line = splice_reply(text.at, text.len, reply, &slot->id, &size);

    observer_hold(intercept->daemon->observer, slot, line, size, json_incref(intercept->overlays));
    free(line);
}

bool intercept_reply(struct intercept *intercept, struct slot *slot, enum link_answer answer,
                     struct span text, const struct message_reply *reply)
{
    bool answered = false;

    intercept_tell(intercept, answer == ANSWER_RETURN);
    if (answer == ANSWER_RETURN && intercept->kind == INTERCEPT_SNAPSHOT) {
        intercept_hold(intercept, slot, text, reply);
        answered = true;
    } else if (answer == ANSWER_RETURN) {
        answered = intercept_return(intercept, slot, reply->value);
    } else if (intercept->renamed) {
        intercept_restore(slot, text);
        answered = true;
    }
    intercept_free(intercept);
    return answered;
}
