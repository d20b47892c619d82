/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitors of a simulated QEMU, and how a command goes wrong on its way. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "policy/state.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"

/* The guest runs once in so many messages. */
#define SIM_GUEST_TURN 3

const char *const sim_trouble_name[SIM_TROUBLE__COUNT] = {
    [SIM_FINE] = "fine",
    [SIM_REFUSE] = "refused",
    [SIM_DONE_REFUSED] = "done and refused",
    [SIM_LOSE] = "lost",
    [SIM_SILENT] = "answer lost",
    [SIM_CUT_BEFORE] = "cut before",
    [SIM_CUT_AFTER] = "cut after",
    [SIM_LATE] = "late",
    [SIM_DIE_BEFORE] = "died before",
    [SIM_DIE_AFTER] = "died after",
};

struct sim_conn {
    struct sim_conn *next;
    struct sim_qemu *qemu;
    int fd, passed;             /* passed: a descriptor that came along, or -1 */
    struct event *event, *thaw;
    struct evbuffer *in;
    char *late;                 /* an answer that QEMU owes; it does nothing else meanwhile */
    bool negotiated;
};

static void conn_free(struct sim_conn *conn)
{
    struct sim_conn **at = &conn->qemu->conns;

    while (*at != conn)
        at = &(*at)->next;
    *at = conn->next;
    event_free(conn->event);
    event_free(conn->thaw);
    evbuffer_free(conn->in);
    if (conn->passed >= 0)
        close(conn->passed);
    close(conn->fd);
    free(conn->late);
    free(conn);
}

static void conn_write(struct sim_conn *conn, const char *text)
{
    if (send(conn->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        sim_fail("cannot write to the proxy: %s", strerror(errno));
}

/* new. */
static char *conn_answer(const json_t *id, const json_t *value, const char *error)
{
    json_t *answer = error ? json_pack("{s:{s:s, s:s}, s:O?}", "error", "class", "GenericError", "desc",
                                       error, "id", id)
                           : json_pack("{s:O, s:O?}", "return", value, "id", id);
    char *dump = json_dumps(answer, JSON_COMPACT), *text;

    if (asprintf(&text, "%s\r\n", dump) < 0)
        abort();
    free(dump);
    json_decref(answer);
    return text;
}

void sim_monitor_event(struct sim_qemu *qemu, const char *name, json_t *data)
{
    json_t *event = json_pack("{s:{s:i, s:i}, s:s, s:o}", "timestamp", "seconds", 1, "microseconds", 0,
                              "event", name, "data", data);
    char *dump = json_dumps(event, JSON_COMPACT), *text;

    if (asprintf(&text, "%s\r\n", dump) < 0)
        abort();
    for (struct sim_conn *conn = qemu->conns; conn; conn = conn->next)
        if (conn->negotiated)
            conn_write(conn, text);
    free(text);
    free(dump);
    json_decref(event);
}

/* ---- commands ---- */

static bool is_query(const char *execute)
{
    return strncmp(execute, "query-", 6) == 0 || strncmp(execute, "x-debug-", 8) == 0 ||
           strcmp(execute, "qom-get") == 0 || strcmp(execute, "qom-list") == 0;
}

/* The descriptor that came along, and the connection's own names for such. */
static const char *take_fd(struct sim_conn *conn, const json_t *args)
{
    if (conn->passed < 0)
        return "No file descriptor supplied via SCM_RIGHTS";
    json_object_set_new(conn->qemu->fds, state_str(args, "fdname"), json_integer(conn->passed));
    conn->passed = -1;
    return NULL;
}

/* new: the answer; it is carried out. */
static char *conn_do(struct sim_conn *conn, const json_t *message, bool refused)
{
    struct sim_qemu *qemu = conn->qemu;
    const char *execute = state_str(message, "execute"), *error = NULL;
    const json_t *args = json_object_get(message, "arguments");
    json_t *value = is_query(execute) ? sim_query(qemu, execute, args, &error)
                                      : sim_machine_do(qemu, execute, args, &error);
    char *text;

    if (strcmp(execute, "getfd") == 0)
        error = take_fd(conn, args);
    if (refused && !error)
        error = "this went wrong";
    text = conn_answer(json_object_get(message, "id"), value, error);
    json_decref(value);
    return text;
}

/* It happens, or not, and then QEMU or the connection is gone.  True: it is that. */
static bool conn_ends(struct sim_conn *conn, const json_t *message, enum sim_trouble trouble)
{
    struct sim_qemu *qemu = conn->qemu;

    if (trouble != SIM_CUT_BEFORE && trouble != SIM_CUT_AFTER && trouble != SIM_DIE_BEFORE &&
        trouble != SIM_DIE_AFTER)
        return false;
    if (trouble == SIM_CUT_AFTER || trouble == SIM_DIE_AFTER)
        free(conn_do(conn, message, false));
    if (!qemu->alive)
        return true;
    if (trouble == SIM_CUT_BEFORE || trouble == SIM_CUT_AFTER)
        sim_monitor_close(qemu);
    else
        sim_qemu_end(qemu, SIGKILL);
    return true;
}

static void conn_freeze(struct sim_conn *conn, char *text)
{
    struct timeval late = { .tv_sec = SIM_LATE_US / 1000000 };

    conn->late = text;
    event_add(conn->thaw, &late);
}

/* What cannot be: a job that QEMU has made, and says that it has not; an answer that does not come although
 * QEMU goes on, to a command with a descriptor, behind which nothing is sent before it is answered. */
static enum sim_trouble conn_trouble(const char *execute, enum sim_trouble trouble)
{
    bool job = strncmp(execute, "block-", 6) == 0 || strncmp(execute, "snapshot-", 9) == 0 ||
               strncmp(execute, "migrate", 7) == 0;

    if (trouble == SIM_DONE_REFUSED && job)
        return SIM_REFUSE;
    if ((trouble == SIM_LOSE || trouble == SIM_SILENT) && strcmp(execute, "getfd") == 0)
        return SIM_LATE;
    return trouble;
}

/* One command that changes something.  False: the connection is gone. */
static bool conn_command(struct sim_conn *conn, const json_t *message)
{
    struct sim_qemu *qemu = conn->qemu;
    bool meets = (long)json_array_size(qemu->log) == qemu->trouble_at;
    enum sim_trouble trouble =
        meets ? conn_trouble(state_str(message, "execute"), qemu->trouble) : SIM_FINE;
    char *text;

    json_array_append(qemu->log, json_object_get(message, "execute"));
    qemu->trouble_met = qemu->trouble_met || trouble != SIM_FINE;
    if (conn_ends(conn, message, trouble))
        return false;
    text = trouble == SIM_REFUSE
               ? conn_answer(json_object_get(message, "id"), NULL, "this was refused")
               : trouble == SIM_LOSE ? NULL : conn_do(conn, message, trouble == SIM_DONE_REFUSED);
    if (!qemu->alive) {
        free(text);
        return false;
    }
    if (trouble == SIM_LATE && text) {
        conn_freeze(conn, text);
        return true;
    }
    if (text && trouble != SIM_SILENT)
        conn_write(conn, text);
    free(text);
    return true;
}

static bool conn_message(struct sim_conn *conn, const json_t *message)
{
    struct sim_qemu *qemu = conn->qemu;
    const char *execute = state_str(message, "execute");
    char *text;

    sim_fail_check(execute != NULL, "no command");
    if (strcmp(execute, "qmp_capabilities") == 0) {
        json_t *nothing = json_object();

        text = conn_answer(json_object_get(message, "id"), nothing, NULL);
        json_decref(nothing);
        conn->negotiated = true;
    } else if (!is_query(execute)) {
        return conn_command(conn, message);
    } else {
        text = conn_do(conn, message, false);
        if (!qemu->alive) {
            free(text);
            return false;
        }
        if (strcmp(execute, "query-jobs") == 0)
            sim_jobs_tick(qemu);
    }
    conn_write(conn, text);
    free(text);
    return true;
}

static void conn_work(struct sim_conn *conn)
{
    struct sim_qemu *qemu = conn->qemu;

    while (!conn->late) {
        size_t len = evbuffer_get_length(conn->in);
        const char *data = (const char *)evbuffer_pullup(conn->in, -1);
        json_error_t error;
        json_t *message = len ? json_loadb(data, len, JSON_DISABLE_EOF_CHECK, &error) : NULL;
        bool stays;

        if (!message)
            return;
        sim_clock_busy();
        evbuffer_drain(conn->in, (size_t)error.position);
        sim_machine_tick(qemu);
        if (++qemu->idle % SIM_GUEST_TURN == 0)
            sim_guest_run(qemu);
        stays = conn_message(conn, message);
        json_decref(message);
        if (!stays)
            return;
    }
}

/* ---- connections ---- */

static ssize_t conn_read(struct sim_conn *conn)
{
    char data[65536], control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = { data, sizeof(data) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                          .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
        if (conn->passed >= 0)
            close(conn->passed);
        memcpy(&conn->passed, CMSG_DATA(cmsg), sizeof(int));
    }
    if (n > 0)
        evbuffer_add(conn->in, data, (size_t)n);
    return n;
}

static void conn_cb(evutil_socket_t fd, short what, void *arg)
{
    struct sim_conn *conn = arg;

    (void)fd;
    (void)what;
    if (conn_read(conn) <= 0)
        conn_free(conn);
    else
        conn_work(conn);
}

static void conn_thaw_cb(evutil_socket_t fd, short what, void *arg)
{
    struct sim_conn *conn = arg;

    (void)fd;
    (void)what;
    conn_write(conn, conn->late);
    free(conn->late);
    conn->late = NULL;
    conn_work(conn);
}

static void accept_cb(evutil_socket_t fd, short what, void *arg)
{
    struct sim_qemu *qemu = arg;
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct sim_conn *conn;
    char greeting[256];

    (void)what;
    if (accepted < 0)
        return;
    conn = calloc(1, sizeof(*conn));
    conn->qemu = qemu;
    conn->fd = accepted;
    conn->passed = -1;
    conn->in = evbuffer_new();
    conn->event = event_new(qemu->base, accepted, EV_READ | EV_PERSIST, conn_cb, conn);
    conn->thaw = event_new(qemu->base, -1, 0, conn_thaw_cb, conn);
    event_add(conn->event, NULL);
    conn->next = qemu->conns;
    qemu->conns = conn;
    snprintf(greeting, sizeof(greeting), "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": %d, "
             "\"major\": %d}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n",
             qemu->version == 7 ? 2 : 0, qemu->version);
    conn_write(conn, greeting);
    sim_clock_busy();
}

void sim_monitor_close(struct sim_qemu *qemu)
{
    while (qemu->conns)
        conn_free(qemu->conns);
}

void sim_monitor_listen(struct sim_qemu *qemu, const int *fds, size_t n)
{
    for (size_t i = 0; i < 2; i++)
        qemu->listens[i] = i < n ? fcntl(fds[i], F_DUPFD_CLOEXEC, 0) : -1;
}

void sim_monitor_attach(struct sim_qemu *qemu, struct event_base *base)
{
    qemu->base = base;
    for (size_t i = 0; i < 2; i++) {
        if (qemu->listens[i] < 0)
            continue;
        qemu->listen_events[i] = event_new(base, qemu->listens[i], EV_READ | EV_PERSIST, accept_cb, qemu);
        event_add(qemu->listen_events[i], NULL);
    }
}

void sim_monitor_detach(struct sim_qemu *qemu)
{
    sim_monitor_close(qemu);
    for (size_t i = 0; i < 2; i++) {
        if (qemu->listen_events[i])
            event_free(qemu->listen_events[i]);
        qemu->listen_events[i] = NULL;
    }
    qemu->base = NULL;
}
