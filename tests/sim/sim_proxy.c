/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_proxy.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "policy/state.h"
#include "proxy/background.h"
#include "proxy/launch.h"
#include "proxy/listener.h"
#include "proxy/observer.h"
#include "proxy/operation.h"
#include "proxy/program.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_fail.h"

#define SIM_ARGS_MAX 64
/* Longer than anything may take: half an hour. */
#define SIM_PATIENCE_US (1800LL * 1000000)

static struct {
    struct daemon *daemon;
    bool dying;
    char *argv[SIM_ARGS_MAX];
    int argc;
    char socket[100], state[128];
    char error[1024];
    int client;
    long asked;
    json_t *answer;
    char *text;                 /* what the client has read, not yet a line */
    size_t len;
    char *notes;
    size_t notes_len;
} sim = { .client = -1 };

/* ---- notes ---- */

void sim_proxy_note(const char *fmt, ...)
{
    char line[1024];
    va_list args;
    int n = snprintf(line, sizeof(line), "%10.3f  ", (double)sim_clock_now() / 1000);

    va_start(args, fmt);
    vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, args);
    va_end(args);
    sim.notes = realloc(sim.notes, sim.notes_len + strlen(line) + 2);
    sim.notes_len += (size_t)sprintf(sim.notes + sim.notes_len, "%s\n", line);
}

void sim_proxy_print_notes(void)
{
    char *line, *rest = NULL;

    for (line = sim.notes ? strtok_r(sim.notes, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
        printf("# %s\n", line);
    sim_proxy_clear_notes();
}

void sim_proxy_clear_notes(void)
{
    free(sim.notes);
    sim.notes = NULL;
    sim.notes_len = 0;
}

/* ---- the beginning and the end ---- */

static void sim_word(const char *word)
{
    sim_fail_check(sim.argc + 1 < SIM_ARGS_MAX, "too many words");
    sim.argv[sim.argc++] = strdup(word);
    sim.argv[sim.argc] = NULL;
}

void sim_begin(char *const argv[])
{
    char listen[160];

    sim_clock_reset();
    sim_guest_reset();
    snprintf(sim.socket, sizeof(sim.socket), "%s/s", sim_host_path());
    snprintf(sim.state, sizeof(sim.state), "%s/state", sim_host_path());
    snprintf(listen, sizeof(listen), "unix:%s", sim.socket);
    sim.argc = 0;
    sim_word("qmp-proxy");
    sim_word("-d");
    sim_word(sim.state);
    sim_word("-n");
    sim_word("vm");
    sim_word("-l");
    sim_word(listen);
    sim_word("--");
    for (size_t i = 0; argv[i]; i++)
        sim_word(argv[i]);
}

void sim_end(void)
{
    if (sim.daemon)
        sim_proxy_kill();
    sim_qemu_end_all();
    for (int i = 0; i < sim.argc; i++)
        free(sim.argv[i]);
    sim.argc = 0;
}

static void sim_client_close(void)
{
    if (sim.client >= 0)
        close(sim.client);
    sim.client = -1;
    json_decref(sim.answer);
    sim.answer = NULL;
    free(sim.text);
    sim.text = NULL;
    sim.len = 0;
}

/* A proxy that is killed frees nothing, and here there is another one behind it in the same program.  Where leaks are
 * looked for this is asked; what a proxy leaks that lives on, tests/long/soak.py sees. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

/* As main() does. */
static void proxy_free(void)
{
    operation_free(sim.daemon); /* while those whom it tells of are there */
    sim_client_close();
    listener_close_all(sim.daemon);
    for (struct sim_qemu *qemu = sim_qemu_first(); qemu; qemu = qemu->next)
        sim_monitor_detach(qemu);
    daemon_free(sim.daemon);
    free(sim.daemon);
    sim.daemon = NULL;
}

void sim_proxy_kill(void)
{
    sim_proxy_note("the proxy is killed");
    sim.dying = true;
    proxy_free();
    sim.dying = false;
}

bool sim_proxy_is_dying(void)
{
    return sim.dying;
}

struct daemon *sim_proxy(void)
{
    return sim.daemon;
}

const char *sim_proxy_error(void)
{
    return sim.error;
}

static void sim_client_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", sim.socket);
    sim.client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sim_fail_check(connect(sim.client, (struct sockaddr *)&address, sizeof(address)) == 0,
                   "the client cannot connect");
    sim_send("qmp_capabilities", NULL);
}

bool sim_proxy_launch(void)
{
    struct err err = ERR_INIT;
    bool ok;

    sim.daemon = calloc(1, sizeof(*sim.daemon));
    sim.error[0] = '\0';
    optind = 0;
    ok = options_parse(sim.argc, sim.argv, &sim.daemon->options, &err) && launch_start(sim.daemon, &err);
    if (!ok) {
        snprintf(sim.error, sizeof(sim.error), "%s", err.desc);
        sim_proxy_note("the proxy does not start: %s", err.desc);
        err_clear(&err);
        if (sim.daemon->base) {
            proxy_free();
        } else {
            options_clear(&sim.daemon->options);
            free(sim.daemon);
            sim.daemon = NULL;
        }
        return false;
    }
    sim_proxy_note("the proxy has started");
    sim_client_connect();
    return true;
}

bool sim_proxy_start(void)
{
    return sim_proxy_launch() && sim_settle();
}

/* ---- turns ---- */

static void sim_client_line(const char *line)
{
    json_t *message = json_loads(line, 0, NULL);
    json_t *id = json_object_get(message, "id");

    sim_fail_check(message != NULL, line);
    if (json_is_integer(id) && json_integer_value(id) == sim.asked && sim.asked > 0) {
        json_decref(sim.answer);
        sim.answer = json_incref(message);
    }
    json_decref(message);
}

static void sim_client_read(void)
{
    char data[65536], *end;
    ssize_t n;

    if (sim.client < 0)
        return;
    while ((n = recv(sim.client, data, sizeof(data), 0)) > 0) {
        sim.text = realloc(sim.text, sim.len + (size_t)n + 1);
        memcpy(sim.text + sim.len, data, (size_t)n);
        sim.len += (size_t)n;
        sim.text[sim.len] = '\0';
    }
    while (sim.text && (end = strchr(sim.text, '\n'))) {
        *end = '\0';
        sim_client_line(sim.text);
        sim.len -= (size_t)(end + 1 - sim.text);
        memmove(sim.text, end + 1, sim.len + 1);
    }
}

bool sim_turn(void)
{
    sim_clock_turn(sim.daemon->base);
    sim_client_read();
    if (!event_base_got_exit(sim.daemon->base))
        return true;
    sim_proxy_note("the proxy ends with %d", sim.daemon->exit_status);
    proxy_free();
    return false;
}

/* Nothing is under way: no operation, no look, no command on its way to QEMU. */
static bool sim_is_settled(void)
{
    struct daemon *daemon = sim.daemon;
    struct link *link = vm_main(daemon->vm);

    return daemon->ready && !daemon->operation && !observer_busy(daemon->observer) && link &&
           link_ready(link) && link_in_flight(link) == 0;
}

bool sim_settle(void)
{
    long long until = sim_clock_now() + SIM_PATIENCE_US;
    int calm = 0;

    while (calm < 4) {
        if (!sim_turn())
            return false;
        calm = sim_is_settled() ? calm + 1 : 0;
        if (sim_clock_now() > until)
            sim_fail("the proxy does not come to rest");
    }
    return true;
}

/* ---- the client ---- */

void sim_send(const char *execute, const json_t *args)
{
    json_t *message = json_pack("{s:s, s:O*, s:I}", "execute", execute, "arguments", args, "id",
                                (json_int_t)++sim.asked);
    char *text = json_dumps(message, JSON_COMPACT);

    json_decref(sim.answer);
    sim.answer = NULL;
    sim_fail_check(send(sim.client, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text),
                   "the client cannot write");
    free(text);
    json_decref(message);
}

json_t *sim_answer(void)
{
    json_t *answer = sim.answer;

    sim.answer = NULL;
    return answer;
}

json_t *sim_ask(const char *execute, const json_t *args)
{
    long long until = sim_clock_now() + SIM_PATIENCE_US;
    json_t *answer = NULL;

    sim_send(execute, args);
    while (!answer) {
        if (!sim_turn())
            return NULL;
        answer = sim_answer();
        if (sim_clock_now() > until)
            sim_fail("%s is never answered", execute);
    }
    return answer;
}

struct sim_qemu *sim_main(void)
{
    long pid = sim.daemon ? vm_pid(sim.daemon->vm) : 0;
    struct sim_qemu *qemu = pid ? sim_qemu_find((int)pid) : NULL;

    return qemu && qemu->alive ? qemu : NULL;
}

/* ---- in place of the proxy's own ---- */

/* The program that would start is the one that runs. */
json_t *program_look(const json_t *args)
{
    (void)args;
    return json_pack("{s:b}", "same", 1);
}
