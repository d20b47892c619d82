/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients may hold, and what becomes of those that hold more. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/answer.h"
#include "proxy/client_internal.h"
#include "proxy/log.h"

/* How long a client that is refused may take to read why. */
#define CLIENT_LINGER_SECONDS 2

/* Who is refused has nothing any more but the error. */
static size_t client_held(const struct client *client)
{
    if (client->refused)
        return 0;
    return evbuffer_get_length(client->in) + evbuffer_get_length(client->out) +
           framer_pending(client->framer) + client->slots_size;
}

void client_count(struct client *client)
{
    size_t held = client_held(client);

    client->limits->memory += held - client->counted;
    client->counted = held;
}

/* All together hold too much: who holds the most has to go. */
void client_make_room(struct client_limits *limits)
{
    struct client *client, *most = NULL;

    if (limits->memory <= limits->max_memory)
        return;
    LIST_FOREACH(client, &limits->clients, all)
        if (!client->closing && !client->refused && (!most || client->counted > most->counted))
            most = client;
    if (most)
        client_refuse(most, "The clients' requests and unread answers take more than %zu bytes "
                      "(--max-memory), %zu of them this client's", limits->max_memory,
                      most->counted);
}

/* Of what waits to be sent, only the line stays that may have been sent in part. */
static void client_cut_output(struct client *client)
{
    struct evbuffer_ptr end = evbuffer_search_eol(client->out, NULL, NULL, EVBUFFER_EOL_LF);
    struct evbuffer *kept = evbuffer_new();

    if (!kept)
        abort();
    if (end.pos >= 0)
        evbuffer_remove_buffer(client->out, kept, (size_t)end.pos + 1);
    evbuffer_free(client->out);
    client->out = kept;
}

void client_refuse(struct client *client, const char *fmt, ...)
{
    struct timeval linger = { .tv_sec = CLIENT_LINGER_SECONDS };
    struct err err = ERR_INIT;
    char why[512], *line;
    va_list ap;
    size_t len;

    if (client->closing || client->refused)
        return;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    log_warn("closing a client: %s", why);
    err_set(&err, NULL, "%s", why);
    line = answer_line(json_pack("{s:o}", "error", err_to_json(&err)), &len);
    err_clear(&err);
    client->refused = true;
    client_cut_output(client);
    evbuffer_drain(client->in, evbuffer_get_length(client->in));
    framer_free(client->framer);
    client->framer = framer_new(0);
    evbuffer_add(client->out, line, len);
    free(line);
    event_del(client->read_event);
    event_add(client->linger_event, &linger);
    client_go_on(client); /* drops its slots */
    client_flush(client);
}
