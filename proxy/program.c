/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "policy/state.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* QEMU answers in some 20 ms; a machine under load takes longer.  What is not known then is seen later. */
#define PROGRAM_TIMEOUT_MS 3000
#define PROGRAM_OUTPUT_MAX 65536
#define PROGRAM_PATH_DEFAULT "/bin:/usr/bin"

extern char **environ;

/* ---- which file ---- */

static bool is_program(const char *path, struct stat *st)
{
    return stat(path, st) == 0 && S_ISREG(st->st_mode) && access(path, X_OK) == 0;
}

/* As execvp() looks for it. */
static bool program_stat(const char *name, struct stat *st)
{
    const char *path = getenv("PATH");
    char *file = NULL;
    bool found = false;

    if (strchr(name, '/'))
        return is_program(name, st);
    for (path = path ? path : PROGRAM_PATH_DEFAULT; !found; path++) {
        size_t len = strcspn(path, ":");

        file = alloc_print("%.*s%s%s", (int)len, path, len > 0 ? "/" : "", name);
        found = is_program(file, st);
        free(file);
        path += len;
        if (*path == '\0')
            break;
    }
    return found;
}

/* A file that is being run cannot be written to, so that the same inode is the same program. */
static bool program_runs(const char *name, long pid)
{
    struct stat st, running;
    char exe[48];

    snprintf(exe, sizeof(exe), "/proc/%ld/exe", pid);
    return pid > 0 && program_stat(name, &st) && stat(exe, &running) == 0 &&
           st.st_dev == running.st_dev && st.st_ino == running.st_ino;
}

/* ---- asking it ---- */

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Starts it in a process group of its own, so that what it starts can be ended as well; -1: it cannot be. */
static pid_t program_spawn(char *const argv[], int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    pid_t pid;
    int error;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out, 1) != 0 ||
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) != 0)
        alloc_fail();
    posix_spawnattr_init(&attr);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    error = posix_spawnp(&pid, argv[0], &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (!error)
        return pid;
    log_info("cannot run '%s': %s", argv[0], strerror(error));
    return -1;
}

/* Reads until the end of what it says; false: that does not come in time, or is too much. */
static bool program_read(int fd, char *text, size_t size, long long end)
{
    size_t len = 0;

    while (len + 1 < size) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        long long left = end - now_ms();
        ssize_t n;

        if (left <= 0 || poll(&ready, 1, (int)left) == 0)
            return false;
        n = read(fd, text + len, size - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            text[len] = '\0';
            return n == 0;
        }
        len += (size_t)n;
    }
    return false;
}

/* new: what it prints; NULL: it fails, or does not end. */
static char *program_ask(const char *name, const char *const words[2])
{
    char *argv[] = { (char *)name, (char *)words[0], (char *)words[1], NULL };
    char *text = alloc_bytes(PROGRAM_OUTPUT_MAX);
    int fds[2], status = -1;
    bool ok = false;
    pid_t pid = -1;

    if (pipe2(fds, O_CLOEXEC) == 0) {
        pid = program_spawn(argv, fds[1]);
        close(fds[1]);
        if (pid > 0)
            ok = program_read(fds[0], text, PROGRAM_OUTPUT_MAX, now_ms() + PROGRAM_TIMEOUT_MS);
        close(fds[0]);
    }
    if (pid > 0) {
        if (!ok) /* it has not ended, or at least something that it started has not */
            kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (ok && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return text;
    log_info("'%s %s' says nothing useful", name, words[0]);
    free(text);
    return NULL;
}

static void program_add(json_t *found, const char *member, const char *name, const char *one,
                        const char *two)
{
    char *text = program_ask(name, (const char *const[2]){ one, two });

    if (text)
        json_object_set_new(found, member, json_string(text));
    free(text);
}

json_t *program_look(const json_t *args)
{
    const char *name = state_str(args, "file");
    bool same = program_runs(name, (long)json_integer_value(json_object_get(args, "pid")));
    json_t *found = json_pack("{s:b}", "same", same);

    if (!same)
        program_add(found, "version", name, "--version", NULL);
    if (same ? json_is_true(json_object_get(args, "machines"))
             : json_object_get(found, "version") != NULL)
        program_add(found, "machines", name, "-machine", "help");
    return found;
}
