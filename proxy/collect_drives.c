/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect_drives.h"

#include <stdlib.h>
#include <string.h>

#include "policy/expect.h"
#include "policy/state.h"
#include "policy/world.h"
#include "qmp/alloc.h"

static const char *const drive_properties[] = {
    "type", "iothread", "iothread-vq-mapping", "parent_bus",
};

/* Freed by its answer. */
struct drive_question {
    struct link *link;
    json_t *drive;              /* the entry of `out` */
    const char *property;
    char *controller;           /* its path, once that is asked */
    void (*answered)(void *arg);
    void *arg;
};

static link_reply_cb drive_cb;

static void drive_ask(struct drive_question *question, const char *path)
{
    json_t *arguments = json_pack("{s:s, s:s}", "path", path, "property", question->property);

    link_send_command(question->link, "qom-get", arguments, -1, drive_cb, question);
    json_decref(arguments);
}

static bool drive_is_set(const json_t *value)
{
    return json_array_size(value) > 0 || json_string_length(value) > 0;
}

/* The bus is a child of its controller: "/machine/peripheral/ID/virtio-backend/ID.0". */
static bool drive_ask_controller(struct drive_question *question, const json_t *bus)
{
    const char *path = json_string_value(bus);

    if (!path || !strrchr(path, '/'))
        return false;
    question->controller = world_dirname(path);
    question->property = "iothread";
    drive_ask(question, question->controller);
    return true;
}

/* What else has to be asked because of the answer; false: nothing. */
static bool drive_ask_more(struct drive_question *question, const json_t *value)
{
    if (strcmp(question->property, "parent_bus") == 0)
        return drive_ask_controller(question, value);
    if (!question->controller || strcmp(question->property, "iothread") != 0)
        return false;
    question->property = "iothread-vq-mapping";
    drive_ask(question, question->controller);
    return true;
}

static void drive_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                     const struct message_reply *reply)
{
    struct drive_question *question = arg;
    json_t *value = link_reply_value(answer, reply);
    bool more;

    (void)text;
    (void)len;
    if (strcmp(question->property, "type") == 0 && value)
        json_object_set(question->drive, "type", value);
    else if (strncmp(question->property, "iothread", 8) == 0 && drive_is_set(value))
        json_object_set_new(question->drive, "iothread", json_true());
    more = (answer == ANSWER_RETURN || answer == ANSWER_ERROR) && drive_ask_more(question, value);
    json_decref(value);
    if (more)
        return;
    question->answered(question->arg);
    free(question->controller);
    free(question);
}

static size_t drive_questions(const struct drive_question *first, const char *qdev)
{
    size_t n = sizeof(drive_properties) / sizeof(drive_properties[0]);
    json_t *path = strchr(qdev, '/') ? json_string(qdev)
                                     : json_sprintf("%s/%s", EXPECT_DEVICES, qdev);

    for (size_t i = 0; i < n; i++) {
        struct drive_question *question = alloc_bytes(sizeof(*question));

        *question = *first;
        question->property = drive_properties[i];
        drive_ask(question, json_string_value(path));
    }
    json_decref(path);
    return n;
}

size_t collect_drives(struct link *link, const json_t *blocks, json_t *out,
                      void (*answered)(void *arg), void *arg)
{
    json_t *block;
    size_t i, n = 0;

    json_array_foreach((json_t *)blocks, i, block) {
        const char *qdev = state_str(block, "qdev");
        struct drive_question first = { .link = link, .answered = answered, .arg = arg };

        if (!qdev || !json_object_get(block, "inserted") || json_object_get(out, qdev))
            continue;
        first.drive = json_pack("{s:b}", "iothread", 0);
        json_object_set_new(out, qdev, first.drive);
        n += drive_questions(&first, qdev);
    }
    return n;
}
