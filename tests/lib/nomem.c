/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nomem: lets chosen allocations of a program fail (LD_PRELOAD; tests/lib/nomem.py).
 *
 * Model: the file that NOMEM names is mapped by the program and by the test: the number of allocations
 * so far, the one that fails (0: none), whether those behind it fail as well, and how many did.  The test
 * writes to it at any moment, and reads it when the program has ended, however it did.
 *
 * Where it says that every Nth allocation is tried, the program forks there: the child finds that very
 * allocation failing, and goes on to whatever end it comes to; the program waits for it, and goes on
 * as if nothing had been.  A child may end well, or by SIGABRT with the message; any other end is a line
 * of the file NOMEM_REPORT.  That is for programs that change nothing but their own memory: no files,
 * threads or epoll.
 *
 * Rules: it works in the program called NOMEM_PROGRAM, not in those that it starts.  What the library
 * called NOMEM_SPARES (a test framework) asks for itself is neither counted nor refused; what is
 * asked for inside of libc is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct control {
    _Atomic uint64_t count, at, on, failed, every, tried, survived;
};

#define MESSAGE "error: out of memory"
#define CHILD_SECONDS 60
#define FILES 32

static struct control *control;
static uintptr_t spared_from, spared_to;
static int child;               /* this is one, and what it was made for has been refused */
static int child_says = -1;     /* what it writes to stderr */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static int find_spared(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *slash = strrchr(info->dlpi_name, '/');

    (void)size;
    if (!slash || strncmp(slash + 1, arg, strlen(arg)) != 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            spared_from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            spared_to = spared_from + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static void __attribute__((constructor)) start(void)
{
    const char *path = getenv("NOMEM"), *program = getenv("NOMEM_PROGRAM");
    char *spares = getenv("NOMEM_SPARES");
    void *map;
    int fd;

    if (!path || !program || strcmp(program, program_invocation_short_name) != 0)
        return;
    fd = open(path, O_RDWR | O_CLOEXEC);
    map = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED)
        _exit(99);
    close(fd);
    child_says = memfd_create("stderr", MFD_CLOEXEC);
    if (spares)
        dl_iterate_phdr(find_spared, spares);
    control = map;
}

static void report(uint64_t n, int status, const char *says)
{
    char text[1200];
    int fd = open(getenv("NOMEM_REPORT"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int len = snprintf(text, sizeof(text), "%llu %s %d %.900s\n", (unsigned long long)n,
                       WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), says);

    for (int i = 0; i < len - 1; i++)
        if (text[i] == '\n')
            text[i] = '|';
    if (write(fd, text, (size_t)len) != len)
        _exit(98);
    close(fd);
}

/* Returns true in a child that is to find it failing. */
static int fork_here(uint64_t n)
{
    off_t at[FILES];
    char says[1000];
    int status = -1, null;
    ssize_t len;
    pid_t pid;

    if (ftruncate(child_says, 0) < 0)
        _exit(98);
    for (int fd = 0; fd < FILES; fd++)
        at[fd] = lseek(fd, 0, SEEK_CUR);
    pid = fork();
    if (pid == 0) {
        null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(child_says, STDERR_FILENO);
        lseek(STDERR_FILENO, 0, SEEK_SET);
        alarm(CHILD_SECONDS);
        return child = 1;
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        _exit(98);
    for (int fd = 0; fd < FILES; fd++)
        if (at[fd] >= 0)
            lseek(fd, at[fd], SEEK_SET); /* what a child has read is read again */
    len = pread(child_says, says, sizeof(says) - 1, 0);
    says[len > 0 ? len : 0] = '\0';
    atomic_fetch_add(&control->tried, 1);
    if (status == 0)
        atomic_fetch_add(&control->survived, 1);
    else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(says, MESSAGE))
        report(n, status, says);
    return 0;
}

/* Whether the allocation that the code at that address asks for fails. */
static int fails(const void *caller)
{
    uint64_t n, at;

    if (!control || ((uintptr_t)caller >= spared_from && (uintptr_t)caller < spared_to))
        return 0;
    if (child)
        return atomic_load(&control->on) != 0;
    n = atomic_fetch_add(&control->count, 1) + 1;
    if (atomic_load(&control->every))
        return n % atomic_load(&control->every) == 0 && fork_here(n);
    at = atomic_load(&control->at);
    if (at == 0 || (n != at && !(n > at && atomic_load(&control->on))))
        return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = ENOMEM;
    return 1;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return FAILS ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return FAILS ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return FAILS ? NULL : __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *got = FAILS ? NULL : __libc_memalign(alignment, size);

    if (!got)
        return ENOMEM;
    *out = got;
    return 0;
}
