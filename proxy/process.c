/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/reason.h"
#include "qmp/alloc.h"

/* A killed process may have to write out a lot before it is gone. */
#define PROCESS_END_MS 5000

/* What the user had set, for those that are started. */
static struct rlimit process_nofile;
static bool process_nofile_raised;

struct process {
    pid_t pid;
    unsigned long long start_time;
    bool child;
    int pidfd;
    int go, report;             /* -1: it runs (process_run()) */
    const char *program;        /* while it does not */
    struct event *event;
    process_exited_cb *exited;
    void *arg;
};

/* By read(), not by a FILE, which asks for memory: none is left, or no descriptor, does not mean that the
 * process has ended. */
unsigned long long process_read_start_time(pid_t pid)
{
    char path[64], text[1024];
    const char *p;
    bool dead;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : PROCESS_START_UNKNOWN;
    n = read(fd, text, sizeof(text) - 1);
    if (n < 0)
        n = errno == ESRCH ? 0 : -1;
    close(fd);
    if (n < 0)
        return PROCESS_START_UNKNOWN;
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name may hold anything, spaces and ')' included */
    dead = p && (strncmp(p, ") Z", 3) == 0 || strncmp(p, ") X", 3) == 0);
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
        /* Only not waited for by whoever has inherited it; but other threads than the first may still be on
         * their way out, and hold what QEMU had locked. */
        if (p && field + 1 == 20 && dead && strtol(p + 1, NULL, 10) <= 1)
            return 0;
    }
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

static void process_exited(evutil_socket_t fd, short what, void *arg)
{
    struct process *process = arg;
    int status = -1;

    (void)fd;
    (void)what;
    if (process->child && waitpid(process->pid, &status, WNOHANG) != process->pid)
        return;
    event_del(process->event);
    process->exited(process->arg, status);
}

/* new: NULL, without an error, when there is no such process any more. */
static struct process *process_watch(struct event_base *base, pid_t pid, bool child,
                                     process_exited_cb *exited, void *arg, struct err *err)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* Asked now that the pidfd says which process of that pid is meant. */
    unsigned long long start = pidfd >= 0 ? process_read_start_time(pid) : 0;
    struct process *process;

    if (pidfd < 0 ? errno != ESRCH : start == PROCESS_START_UNKNOWN) {
        err_set(err, REASON_QEMU_FAILED, "Cannot look at process %ld: %s", (long)pid,
                strerror(errno));
        if (pidfd >= 0)
            close(pidfd);
    }
    if (pidfd < 0 || err->set)
        return NULL;
    process = alloc_zeroed(1, sizeof(*process));
    process->pid = pid;
    process->child = child;
    process->exited = exited;
    process->arg = arg;
    process->start_time = start;
    process->pidfd = pidfd;
    process->go = process->report = -1;
    process->event = event_new(base, pidfd, EV_READ | EV_PERSIST, process_exited, process);
    if (!process->event || event_add(process->event, NULL) < 0)
        abort();
    return process;
}

void process_allow_files(size_t n)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= n)
        return;
    process_nofile = limit;
    limit.rlim_cur = limit.rlim_max < n ? limit.rlim_max : n;
    process_nofile_raised = setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* What the child is told. */
#define PROCESS_GO 1
#define PROCESS_GO_BOUND 2

/* In the child: only async-signal-safe calls.  Waits until it is told to go on, which a parent that has
 * ended does not do.  Tells the parent errno when exec fails. */
static void process_exec(char *const argv[], const int *fds, size_t n_fds, const int *go, int report,
                         pid_t parent)
{
    sigset_t none;
    ssize_t n;
    char word;
    int error;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGHUP) /* nohup's choice is the user's */
            signal(sig, SIG_DFL);
    close(go[1]);
    do
        n = read(go[0], &word, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(127);
    if (word == PROCESS_GO_BOUND) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(127);
    }
    for (size_t i = 0; i < n_fds; i++)
        fcntl(fds[i], F_SETFD, 0);
    if (process_nofile_raised)
        setrlimit(RLIMIT_NOFILE, &process_nofile);
    execvp(argv[0], argv);
    error = errno;
    if (write(report, &error, sizeof(error)) < 0)
        _exit(126);
    _exit(127);
}

static void process_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

struct process *process_new(struct event_base *base, char *const argv[], const int *fds, size_t n_fds,
                            process_exited_cb *exited, void *arg, struct err *err)
{
    int go[2] = { -1, -1 }, report[2] = { -1, -1 };
    struct process *process = NULL;
    pid_t parent = getpid(), pid = -1;

    if (pipe2(go, O_CLOEXEC) == 0 && pipe2(report, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        process_exec(argv, fds, n_fds, go, report[1], parent);
    if (pid < 0)
        err_set(err, REASON_QEMU_FAILED, "Cannot start '%s': %s", argv[0], strerror(errno));
    else
        process = process_watch(base, pid, true, exited, arg, err);
    process_close(&go[0]);
    process_close(&report[1]);
    if (process) {
        process->go = go[1];
        process->report = report[0];
        process->program = argv[0];
        return process;
    }
    process_close(&go[1]);
    process_close(&report[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0); /* it was not told to go on */
    return NULL;
}

bool process_run(struct process *process, bool bound, struct err *err)
{
    char word = bound ? PROCESS_GO_BOUND : PROCESS_GO;
    int error = 0;
    ssize_t n;

    n = write(process->go, &word, 1);
    process_close(&process->go);
    do
        n = n == 1 ? read(process->report, &error, sizeof(error)) : -1;
    while (n < 0 && errno == EINTR);
    process_close(&process->report);
    if (n == 0)
        return true;
    if (n != sizeof(error))
        error = errno; /* it was killed before it began */
    waitpid(process->pid, NULL, 0);
    err_set(err, REASON_QEMU_FAILED, "Cannot start '%s': %s", process->program, strerror(error));
    err_name(err, "file", process->program);
    return false;
}

struct process *process_adopt(struct event_base *base, pid_t pid, unsigned long long start_time,
                              process_exited_cb *exited, void *arg, struct err *err)
{
    struct process *process;

    if (pid <= 1 || start_time == 0)
        return NULL;
    process = process_watch(base, pid, false, exited, arg, err);
    if (process && process->start_time != start_time) {
        process_free(process);
        return NULL;
    }
    return process;
}

void process_end_stale(pid_t pid, unsigned long long start_time)
{
    struct pollfd gone = { .events = POLLIN };

    gone.fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (gone.fd < 0)
        return;
    if (process_read_start_time(pid) == start_time &&
        syscall(SYS_pidfd_send_signal, gone.fd, SIGKILL, NULL, 0) == 0)
        poll(&gone, 1, PROCESS_END_MS);
    close(gone.fd);
}

static bool process_ends_in(const struct process *process, int ms)
{
    struct pollfd gone = { .fd = process->pidfd, .events = POLLIN };

    return poll(&gone, 1, ms) == 1;
}

bool process_wait_end(const struct process *process)
{
    return process_ends_in(process, PROCESS_END_MS);
}

bool process_has_ended(const struct process *process)
{
    return process_ends_in(process, 0);
}

void process_free(struct process *process)
{
    if (!process)
        return;
    event_free(process->event);
    close(process->pidfd);
    if (process->go >= 0) {
        close(process->go);
        close(process->report);
        waitpid(process->pid, NULL, 0);
    }
    free(process);
}

pid_t process_pid(const struct process *process)
{
    return process->pid;
}

unsigned long long process_start_time(const struct process *process)
{
    return process->start_time;
}

void process_signal(struct process *process, int sig)
{
    syscall(SYS_pidfd_send_signal, process->pidfd, sig, NULL, 0);
}

void process_set_owner(struct process *process, process_exited_cb *exited, void *arg)
{
    process->exited = exited;
    process->arg = arg;
}
