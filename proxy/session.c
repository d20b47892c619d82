/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/commands.h"
#include "policy/fdnames.h"
#include "policy/reason.h"
#include "policy/request.h"
#include "policy/reserved.h"
#include "policy/state.h"
#include "proxy/answer.h"
#include "proxy/frozen.h"
#include "proxy/intercept.h"
#include "proxy/leftovers.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/operation.h"
#include "qmp/alloc.h"
#include "qmp/splice.h"

/* Bytes of a request that QEMU, which reads about 300 kB/s, has read in no time. */
#define SESSION_SMALL 16384

static void session_greet(struct daemon *daemon, struct client *client)
{
    struct client_session *session = client_session(client);
    char *line;

    if (session->greeted)
        return;
    session->greeted = true;
    line = alloc_print("%s\r\n", daemon->greeting);
    client_send(client, line, strlen(line));
    free(line);
    client_block(client, false);
}

void session_greet_all(struct daemon *daemon)
{
    struct client *client;

    for (client = client_first(&daemon->limits); client; client = client_next(client))
        session_greet(daemon, client);
}

struct client *session_start(struct daemon *daemon, int fd, int fd_out, bool pretty)
{
    struct client *client = client_new(daemon->base, fd, fd_out, &daemon->limits,
                                       &session_client_ops, daemon);

    client_session(client)->pretty = pretty;
    if (daemon->limits.n_clients > daemon->limits.max_clients)
        client_refuse(client, "There are %zu clients already (--max-clients)",
                      daemon->limits.max_clients);
    else if (daemon->ready)
        session_greet(daemon, client);
    else
        client_block(client, true);
    return client;
}

static void session_closed(void *arg, struct client *client)
{
    struct daemon *daemon = arg;

    leftovers_client_gone(daemon->leftovers, client);
    listener_client_gone(daemon, client);
}

/* ---- negotiation ---- */

enum session_wish { WISH_ODD, WISH_NOTHING, WISH_OOB };

/* What qmp_capabilities asks for.  WISH_ODD: QEMU may know what is wrong with it. */
static enum session_wish session_wish(const struct message *message)
{
    json_t *arguments = splice_arguments(message, JSON_REJECT_DUPLICATES);
    const json_t *enable = json_object_get(arguments, "enable");
    bool plain = !message->arguments.at ||
                 (json_is_object(arguments) && json_object_size(arguments) == (enable ? 1 : 0) &&
                  (!enable || json_is_array(enable)));
    size_t n = json_array_size(enable);

    for (size_t i = 0; plain && i < n; i++) {
        const json_t *name = json_array_get(enable, i);

        plain = json_string_length(name) == 3 && strcmp(json_string_value(name), "oob") == 0;
    }
    json_decref(arguments);
    return !plain ? WISH_ODD : n > 0 ? WISH_OOB : WISH_NOTHING;
}

/* The shared connection is negotiated, so QEMU only says what is wrong with odd arguments; with
 * others this is what it would have done. */
static void session_negotiate(struct daemon *daemon, struct client *client, struct slot *slot,
                              const struct message *message)
{
    struct client_session *session = client_session(client);
    enum session_wish wish = session_wish(message);
    struct err err = ERR_INIT;

    if (wish == WISH_ODD || message->oob) {
        client_block(client, !session->negotiated); /* what follows depends on this */
        session_forward(daemon, slot, message);
        return;
    }
    if (session->negotiated)
        err_set_class(&err, "CommandNotFound",
                      "Capabilities negotiation is already complete, command ignored");
    else if (wish == WISH_OOB && !daemon->has_oob)
        err_set(&err, NULL, "Capability oob not available");
    if (err.set) {
        answer_error(slot, &err);
        return;
    }
    answer_return(slot, json_object());
    session->negotiated = true;
    session->oob = wish == WISH_OOB;
}

/* ---- relaying ---- */

static void session_reply_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                             const struct message_reply *reply)
{
    struct slot *slot = arg;
    struct intercept *intercept = slot->data;
    size_t size;
    char *line;

    if (answer == ANSWER_LOST) {
        /* QEMU has ended or closed its monitor: its other clients get no answer either. */
        struct client *client = slot->client;

        intercept_free(intercept);
        slot_free(slot);
        if (client)
            client_close(client, "its command was lost with the connection to QEMU");
        return;
    }
    if (intercept && intercept_reply(intercept, slot, answer, (struct span){ text, len }, reply))
        return;
    line = splice_reply(text, len, reply, &slot->id, &size);
    if (slot->client && !client_session(slot->client)->negotiated)
        client_block(slot->client, false);
    slot_answer(slot, line, size);
    free(line);
}

/* new: the same message with other arguments; *out is what it is. */
static char *session_with_arguments(const struct message *message, const char *arguments,
                                    struct message *out)
{
    struct err err = ERR_INIT;
    size_t head = (size_t)(message->arguments.at - message->text.at);
    const char *tail = message->arguments.at + message->arguments.len;
    char *text = alloc_print("%.*s%s%.*s", (int)head, message->text.at, arguments,
                             (int)(message->text.at + message->text.len - tail), tail);

    if (!message_parse_request(text, strlen(text), message->oob, out, &err))
        abort(); /* only names were changed */
    return text;
}

static unsigned session_how(const struct message *message)
{
    unsigned how = message->oob ? LINK_OOB : 0;

    if (fdnames_concerned(message->command) || strcmp(message->command, "add-fd") == 0)
        how |= LINK_HERE;
    if (command_classify(message->command) != COMMAND_PASS)
        how |= LINK_DISTURBS;
    return how;
}

void session_forward(struct daemon *daemon, struct slot *slot, const struct message *message)
{
    struct message renamed;
    char *arguments, *whole = NULL, *text;
    size_t len;

    if (!vm_clients(daemon->vm)) {
        slot_free(slot); /* QEMU has ended, and with it its monitors */
        return;
    }
    arguments = leftovers_rename(daemon->leftovers, slot->client, message, &len);
    if (arguments) {
        whole = session_with_arguments(message, arguments, &renamed);
        message = &renamed;
    }
    slot->data = intercept_new(daemon, message, arguments != NULL);
    text = splice_request(message, LINK_ID_MARK, &len);
    link_send(vm_clients(daemon->vm), slot->client, text, len, slot->fds, slot->n_fds,
              session_how(message), session_reply_cb, slot);
    free(text);
    free(whole);
    free(arguments);
    slot_close_fds(slot);
}

static void session_abandoned(void *arg, struct slot *slot)
{
    struct daemon *daemon = arg;
    struct link *link = vm_clients(daemon->vm);

    if (operation_abandon(daemon, slot))
        return;
    /* As with a monitor of its own: what QEMU has not seen vanishes, what it has goes on. */
    if (link && !link_withdraw(link, slot) && slot->data)
        return; /* its answer is still of interest, and frees it */
    if (link)
        link_forget(link, slot);
    intercept_free(slot->data);
    slot_free(slot);
}

/* Does the command go against the operation that runs?  Then the slot is answered. */
static bool session_conflicts(struct daemon *daemon, struct slot *slot,
                              const struct message *message)
{
    enum command_class class = command_classify(message->command);
    struct err err = ERR_INIT;

    if (!daemon->operation || class == COMMAND_PASS)
        return false;
    if (class == COMMAND_HUMAN && message->arguments.at) {
        json_t *arguments = splice_arguments(message, 0);
        const char *line = state_str(arguments, "command-line");
        bool harmless = line && command_human_is_harmless(line);

        json_decref(arguments);
        if (harmless)
            return false;
    }
    operation_refuse(daemon->operation, message->command, &err);
    answer_error(slot, &err);
    return true;
}

/* Would the command write to what snapshots stand on?  Then the slot is answered. */
static bool session_destroys(struct daemon *daemon, struct slot *slot, const struct message *message)
{
    struct err err = ERR_INIT;

    if (frozen_permits(daemon, message, &err))
        return false;
    answer_error(slot, &err);
    return true;
}

/* Would the command give a name that is kept for us?  Then the slot is answered. */
static bool session_usurps(struct slot *slot, const struct message *message)
{
    struct err err = ERR_INIT;
    json_t *arguments;
    bool usurps;

    if (message->name_long || !reserved_concerned(message->command))
        return false;
    arguments = splice_arguments(message, 0);
    if (!arguments && message->arguments.at) /* jansson cannot hold them: a number is too large */
        arguments = json_stringn(message->arguments.at, message->arguments.len);
    usurps = !reserved_check(message->command, arguments, &err);
    json_decref(arguments);
    if (usurps)
        answer_error(slot, &err);
    return usurps;
}

/* Might the guest go on with memory that is not that of its disks, here or elsewhere, or might what tells the
 * next start how far it was be lost?  Then the slot is answered. */
static bool session_tears(struct daemon *daemon, struct slot *slot, const struct message *message)
{
    struct err err = ERR_INIT;

    if (!daemon->torn || command_classify(message->command) == COMMAND_PASS)
        return false;
    err_set(&err, REASON_STUCK, "'%s' is refused, as the guest's memory is not that of its disks: end QEMU "
            "and start it again", message->command);
    answer_error(slot, &err);
    return true;
}

static void session_command(struct daemon *daemon, struct slot *slot,
                            const struct message *message)
{
    if (strcmp(message->command, "qmp_capabilities") == 0) {
        session_negotiate(daemon, slot->client, slot, message);
    } else if (!message->oob && !message->name_long && operation_takes(daemon, message)) {
        operation_command(daemon, slot, message);
    } else if (!intercept_answer(daemon, slot, message) &&
               !session_conflicts(daemon, slot, message) &&
               !session_tears(daemon, slot, message) && !session_usurps(slot, message) &&
               !session_destroys(daemon, slot, message)) {
        session_forward(daemon, slot, message);
    }
}

/* A command that only asks, and is small, may overlap with others of its client. */
static bool session_only_asks(const struct message *message)
{
    return strncmp(message->command, "query-", 6) == 0 && message->text.len < SESSION_SMALL;
}

static void session_message(struct daemon *daemon, struct client *client,
                            const struct message *message)
{
    struct client_session *session = client_session(client);
    struct slot *slot = slot_new(client, message);
    struct err err = ERR_INIT;

    if (session->negotiated) {
        if (!message->oob && (strcmp(message->command, "getfd") == 0 ||
                              strcmp(message->command, "add-fd") == 0))
            client_give_fds(client, slot);
        if (slot_begin(slot, message->text, !session_only_asks(message)))
            session_command(daemon, slot, message);
    } else if (strcmp(message->command, "qmp_capabilities") == 0) {
        session_negotiate(daemon, client, slot, message);
    } else {
        err_set_class(&err, "CommandNotFound",
                      "Expecting capabilities negotiation with 'qmp_capabilities'");
        answer_error(slot, &err);
    }
}

static void session_frame(void *arg, struct client *client, struct frame *frame)
{
    struct err err = ERR_INIT;
    struct message message;

    if (frame->kind == FRAME_TOO_LARGE)
        client_refuse(client, "A request is larger than %zu bytes (--max-request)",
                      client_limits(client)->max_request);
    else if (frame->kind != FRAME_MESSAGE)
        answer_error(slot_new(client, NULL), &frame->err);
    else if (message_parse_request(frame->text.at, frame->text.len, client_session(client)->oob,
                                   &message, &err))
        session_message(arg, client, &message);
    else
        answer_error(slot_new(client, &message), &err);
}

/* Its turn has come.  The text is one that was taken before. */
static void session_start_slot(void *arg, struct slot *slot, const char *text, size_t len)
{
    struct err err = ERR_INIT;
    struct message message;

    if (message_parse_request(text, len, client_session(slot->client)->oob, &message, &err))
        session_command(arg, slot, &message);
    else
        answer_error(slot, &err);
}

const struct client_ops session_client_ops = {
    .frame = session_frame,
    .start = session_start_slot,
    .abandoned = session_abandoned,
    .closed = session_closed,
};

void session_event(struct daemon *daemon, const char *text, size_t len,
                   const struct message_reply *reply)
{
    char *line;

    if (operation_hides_event(daemon, reply))
        return;
    line = alloc_bytes(len + 2);
    memcpy(line, text, len);
    memcpy(line + len, "\r\n", 2);
    daemon_broadcast(daemon, line, len + 2);
    free(line);
}
