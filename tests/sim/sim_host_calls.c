/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of the C library that stand before its own here; see sim_host.h. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_host.h"

/* No real process has that number. */
#define SIM_IMG_PID 0x7ffffff0

static struct {
    long at, count;
    bool failed;
    int img_status;
    char renamed[64];           /* what a file was called last */
} calls = { .at = -1 };

long sim_host_fail(long at)
{
    long count = calls.count;

    calls.count = 0;
    calls.at = at;
    calls.failed = false;
    return count;
}

bool sim_host_failed(void)
{
    return calls.failed;
}

/* Is it about where to find a process that runs already?  Whoever cannot write that down goes on, and is
 * not found by the next proxy: the simulation would end there. */
static bool calls_spares(const char *name)
{
    return strstr(name, "process.") || strstr(name, "qemu.");
}

static bool calls_spares_fd(int fd)
{
    char link[64], path[512];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    return calls_spares(path) || (calls_spares(calls.renamed) && strstr(path, "/state"));
}

/* True: this one fails. */
static bool calls_fails(bool spared)
{
    bool fails = calls.count++ == calls.at && !spared;

    calls.failed = calls.failed || fails;
    if (fails)
        errno = ENOSPC;
    return fails;
}

int fsync(int fd)
{
    return calls_fails(calls.count == calls.at && calls_spares_fd(fd)) ? -1 : 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    snprintf(calls.renamed, sizeof(calls.renamed), "%s", to);
    return calls_fails(calls_spares(to)) ? -1
                                         : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

/* ---- qemu-img ---- */

static const char *img_option(char *const argv[], const char *name)
{
    for (size_t i = 0; argv[i]; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

/* The file that one of the words means; its path in out. */
static bool img_path(char *const argv[], char *out, size_t size)
{
    for (size_t i = 1; argv[i]; i++) {
        char link[64];
        ssize_t n;

        if (strncmp(argv[i], "/dev/fd/", 8) != 0)
            continue;
        snprintf(link, sizeof(link), "/proc/self/fd/%s", argv[i] + 8);
        n = readlink(link, out, size - 1);
        if (n < 0)
            return false;
        out[n] = '\0';
        return true;
    }
    return false;
}

static int img_run(char *const argv[])
{
    const char *backing = img_option(argv, "-b"), *format = img_option(argv, "-F");
    char path[4096];

    if (calls_fails(false) || !img_path(argv, path, sizeof(path)))
        return 1;
    if (strcmp(argv[1], "create") == 0) {
        sim_image_make(path, "qcow2", backing, format);
        return 0;
    }
    /* It takes QEMU's locks. */
    if (strcmp(argv[1], "rebase") != 0 || !sim_image_find(path) || !sim_lock_free(path))
        return 1;
    sim_image_rebase(sim_image_find(path), backing, format);
    return 0;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    (void)actions;
    (void)attributes;
    (void)envp;
    sim_fail_check(strcmp(file, "qemu-img") == 0, file);
    calls.img_status = img_run(argv) << 8;
    *pid = SIM_IMG_PID;
    return 0;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    if (pid != SIM_IMG_PID)
        return (pid_t)syscall(SYS_wait4, pid, status, options, NULL);
    *status = calls.img_status;
    return pid;
}
