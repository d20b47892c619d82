/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/settings_carry.h"

#include <stdlib.h>

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/settings.h"
#include "policy/state.h"
#include "proxy/runner_internal.h"
#include "qmp/alloc.h"

struct settings_carry {
    struct link *link;
    json_t *want, *have;
    unsigned outstanding;
    bool told;                  /* what differed */
    struct event *watchdog;
    struct err err;
    vm_done_cb *done;
    void *arg;
};

static void carry_ask(struct settings_carry *carry);

void settings_carry_free(struct settings_carry *carry)
{
    if (!carry)
        return;
    link_forget(carry->link, carry);
    event_free(carry->watchdog);
    err_clear(&carry->err);
    json_decref(carry->want);
    json_decref(carry->have);
    free(carry);
}

/* It is gone behind this. */
static void carry_end(struct settings_carry *carry)
{
    carry->done(carry->arg, !carry->err.set, &carry->err);
}

static void carry_told_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                          const struct message_reply *reply)
{
    struct settings_carry *carry = arg;

    (void)text;
    (void)len;
    if (answer == ANSWER_ERROR && !carry->err.set)
        runner_set_refused(&carry->err, "settings-carry", NULL, reply);
    else if (answer == ANSWER_LOST && !carry->err.set)
        err_set(&carry->err, REASON_QEMU_FAILED, "QEMU ended during 'settings-carry'");
    if (--carry->outstanding > 0)
        return;
    if (carry->err.set)
        carry_end(carry);
    else
        carry_ask(carry);
}

/* Everything is known: tells it what differs. */
static void carry_tell(struct settings_carry *carry)
{
    json_t *commands = settings_commands(carry->want, carry->have), *command;
    size_t i;

    if (json_array_size(commands) > 0 && carry->told)
        err_set(&carry->err, REASON_QEMU_FAILED, "The second QEMU does not take what clients have set with "
                "'%s'", state_str(json_array_get(commands, 0), "execute"));
    if (json_array_size(commands) == 0 || carry->told) {
        json_decref(commands);
        carry_end(carry);
        return;
    }
    carry->told = true;
    carry->outstanding = (unsigned)json_array_size(commands);
    json_array_foreach(commands, i, command)
        link_send_command(carry->link, state_str(command, "execute"),
                          json_object_get(command, "arguments"), -1, carry_told_cb, carry);
    json_decref(commands);
}

static void carry_take(struct settings_carry *carry, const char *member, json_t *value)
{
    if (value)
        json_object_set_new(carry->have, member, value);
    else if (!carry->err.set)
        err_set(&carry->err, REASON_QEMU_FAILED, "The second QEMU does not tell the %s of its migrations",
                member);
    if (--carry->outstanding > 0)
        return;
    if (carry->err.set)
        carry_end(carry);
    else
        carry_tell(carry);
}

static void carry_capabilities_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                                  const struct message_reply *reply)
{
    json_t *list = link_reply_value(answer, reply);

    (void)text;
    (void)len;
    carry_take(arg, "capabilities", list ? world_read_capabilities(list) : NULL);
    json_decref(list);
}

static void carry_parameters_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                                const struct message_reply *reply)
{
    (void)text;
    (void)len;
    carry_take(arg, "parameters", link_reply_value(answer, reply));
}

static void carry_ask(struct settings_carry *carry)
{
    carry->outstanding = 2;
    link_send_command(carry->link, "query-migrate-capabilities", NULL, -1, carry_capabilities_cb,
                      carry);
    link_send_command(carry->link, "query-migrate-parameters", NULL, -1, carry_parameters_cb, carry);
}

static void carry_watchdog_cb(evutil_socket_t fd, short what, void *arg)
{
    struct settings_carry *carry = arg;

    (void)fd;
    (void)what;
    if (!carry->err.set)
        err_set(&carry->err, REASON_TIMEOUT, "QEMU did not answer during 'settings-carry'");
    carry_end(carry);
}

struct settings_carry *settings_carry_new(struct event_base *base, struct link *link,
                                          const json_t *want, vm_done_cb *done, void *arg)
{
    struct settings_carry *carry = alloc_zeroed(1, sizeof(*carry));
    struct timeval limit = { .tv_sec = PLAN_TIMEOUT_MS / 1000 };

    *carry = (struct settings_carry){ .link = link, .done = done, .arg = arg };
    carry->want = json_deep_copy(want);
    carry->have = json_object();
    carry->watchdog = event_new(base, -1, 0, carry_watchdog_cb, carry);
    if (!carry->watchdog || event_add(carry->watchdog, &limit) < 0)
        abort();
    carry_ask(carry);
    return carry;
}
