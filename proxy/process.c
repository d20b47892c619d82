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
    struct event *event;
    process_exited_cb *exited;
    void *arg;
};

unsigned long long process_read_start_time(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    const char *p;
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name may hold anything, spaces and ')' included */
    if (p && (strncmp(p, ") Z", 3) == 0 || strncmp(p, ") X", 3) == 0))
        return 0; /* dead, and only not waited for by whoever has inherited it */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (p)
        start = strtoull(p + 1, NULL, 10);
    return start;
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

static struct process *process_new(struct event_base *base, pid_t pid, bool child,
                                   process_exited_cb *exited, void *arg)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        abort();
    process->pid = pid;
    process->child = child;
    process->exited = exited;
    process->arg = arg;
    process->start_time = process_read_start_time(pid);
    process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process->pidfd < 0) {
        free(process);
        return NULL;
    }
    process->event = event_new(base, process->pidfd, EV_READ | EV_PERSIST, process_exited, process);
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

/* In the child: waits until it is on record; ends when it is not to be, or when nobody is left to say so. */
static void process_wait_gate(int gate, pid_t parent)
{
    char verdict = PROCESS_REFUSED;
    ssize_t n;

    do
        n = read(gate, &verdict, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1 || verdict == PROCESS_REFUSED)
        _exit(126);
    if (verdict == PROCESS_UNRECORDED) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(126);
    }
}

/* In the child: only async-signal-safe calls.  Tells the parent errno when exec fails. */
static void process_exec(char *const argv[], const struct process_spawning *how, int report)
{
    sigset_t none;
    int error;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGHUP) /* nohup's choice is the user's */
            signal(sig, SIG_DFL);
    for (size_t i = 0; i < how->n_fds; i++)
        fcntl(how->fds[i], F_SETFD, 0);
    if (process_nofile_raised)
        setrlimit(RLIMIT_NOFILE, &process_nofile);
    execvp(argv[0], argv);
    error = errno;
    if (write(report, &error, sizeof(error)) < 0)
        _exit(126);
    _exit(127);
}

/* In the parent: true when the child goes on. */
static bool process_open_gate(pid_t pid, const struct process_spawning *how, int gate, struct err *err)
{
    char verdict = (char)how->record(how->arg, pid, process_read_start_time(pid), err);

    return write(gate, &verdict, 1) == 1 && verdict != PROCESS_REFUSED;
}

/* In the parent: 0, or errno of the child's exec. */
static int process_read_report(int report)
{
    int error = 0;
    ssize_t n;

    do
        n = read(report, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    return n == sizeof(error) ? error : 0;
}

/* The child's pid; 0: there is none any more, and err says why.  gate and report are pipes. */
static pid_t process_fork(char *const argv[], const struct process_spawning *how, const int gate[2],
                          const int report[2], struct err *err)
{
    pid_t parent = getpid(), pid = fork();
    int error = pid < 0 ? errno : 0;

    if (pid == 0) {
        close(gate[1]);
        process_wait_gate(gate[0], parent);
        process_exec(argv, how, report[1]);
    }
    close(gate[0]);
    close(report[1]);
    if (pid > 0 && process_open_gate(pid, how, gate[1], err))
        error = process_read_report(report[0]);
    close(gate[1]);
    close(report[0]);
    if (error) {
        err_set(err, REASON_QEMU_FAILED, "Cannot start '%s': %s", argv[0], strerror(error));
        err_name(err, "file", argv[0]);
    }
    if (err->set && pid > 0)
        waitpid(pid, NULL, 0);
    return err->set ? 0 : pid;
}

struct process *process_spawn(struct event_base *base, char *const argv[],
                              const struct process_spawning *how, struct err *err)
{
    struct process *process;
    int gate[2], report[2];
    pid_t pid;

    if (pipe2(gate, O_CLOEXEC) < 0) {
        err_set(err, REASON_QEMU_FAILED, "Cannot start %s: %s", argv[0], strerror(errno));
        return NULL;
    }
    if (pipe2(report, O_CLOEXEC) < 0) {
        err_set(err, REASON_QEMU_FAILED, "Cannot start %s: %s", argv[0], strerror(errno));
        close(gate[0]);
        close(gate[1]);
        return NULL;
    }
    pid = process_fork(argv, how, gate, report, err);
    if (!pid)
        return NULL;
    process = process_new(base, pid, true, how->exited, how->arg);
    if (!process)
        abort(); /* our own child, not waited for: only memory or descriptors can lack */
    return process;
}

struct process *process_adopt(struct event_base *base, pid_t pid, unsigned long long start_time,
                              process_exited_cb *exited, void *arg)
{
    struct process *process;

    if (pid <= 1 || start_time == 0 || process_read_start_time(pid) != start_time)
        return NULL;
    process = process_new(base, pid, false, exited, arg);
    /* Asked again now that the pidfd pins it. */
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
