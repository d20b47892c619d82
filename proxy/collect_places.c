/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect_places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/expect.h"
#include "qmp/alloc.h"

/* Freed by its answer. */
struct place {
    json_t *out;
    void (*answered)(void *arg);
    void *arg;
    const char *property;       /* one of config_places */
    char id[];
};

/* A device without that property, or one that has gone, is no failure. */
static void place_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                     const struct message_reply *reply)
{
    struct place *place = arg;
    json_t *value = link_reply_value(answer, reply);

    (void)text;
    (void)len;
    if (value && !json_object_get(place->out, place->id))
        json_object_set_new(place->out, place->id, json_object());
    if (value)
        json_object_set_new(json_object_get(place->out, place->id), place->property, value);
    place->answered(place->arg);
    free(place);
}

static struct place *place_new(const char *id, const char *property)
{
    size_t size = strlen(id) + 1;
    struct place *place = alloc_bytes(sizeof(*place) + size);

    memcpy(place->id, id, size);
    place->property = property;
    return place;
}

size_t collect_places(struct link *link, const json_t *config, json_t *out,
                      void (*answered)(void *arg), void *arg)
{
    const json_t *command;
    size_t i, n = 0;

    json_array_foreach((json_t *)config, i, command) {
        const char *id = config_device(command);

        for (size_t k = 0; id && config_places[k]; k++) {
            struct place *place = place_new(id, config_places[k]);
            json_t *arguments = json_pack("{s:s+, s:s}", "path", EXPECT_DEVICES "/", id,
                                          "property", place->property);

            place->out = out;
            place->answered = answered;
            place->arg = arg;
            link_send_command(link, "qom-get", arguments, -1, place_cb, place);
            json_decref(arguments);
            n++;
        }
    }
    return n;
}
