/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process: what is told of a process when there is nothing left to look with, and one that is not told
 * to run. */
#include "tests/unit/json_text.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/loop.h"
#include "proxy/process.h"

static void never_cb(void *arg, int status)
{
    (void)arg;
    (void)status;
    fail_msg("exited() was called");
}

static void exited_cb(void *arg, int status)
{
    *(int *)arg = status;
}

/* From now on nothing more can be opened; old is what to set afterwards. */
static void allow_no_files(struct rlimit *old)
{
    int next = open("/dev/null", O_RDONLY);
    struct rlimit none;

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, old), 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = old->rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void a_process_that_cannot_be_looked_at_is_not_dead(void **state)
{
    struct event_base *base = loop_new();
    unsigned long long start = process_read_start_time(getpid());
    struct err err = ERR_INIT;
    struct process *process;
    struct rlimit old;

    (void)state;
    assert_true(start != 0 && start != PROCESS_START_UNKNOWN);
    allow_no_files(&old);
    assert_true(process_read_start_time(getpid()) == PROCESS_START_UNKNOWN);
    assert_null(process_adopt(base, getpid(), start, never_cb, NULL, &err));
    setrlimit(RLIMIT_NOFILE, &old);
    assert_true(err.set);
    assert_string_equal(err.reason, REASON_QEMU_FAILED);
    err_clear(&err);
    process = process_adopt(base, getpid(), start, never_cb, NULL, &err);
    assert_non_null(process);
    assert_true(process_start_time(process) == start);
    process_free(process);
    event_base_free(base);
}

static void a_process_that_has_ended_is_no_error(void **state)
{
    struct event_base *base = loop_new();
    struct err err = ERR_INIT;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(0);
    assert_null(process_adopt(base, getpid(), 1, never_cb, NULL, &err));    /* another one's pid */
    assert_false(err.set);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(process_read_start_time(pid) == 0);
    assert_null(process_adopt(base, pid, 1, never_cb, NULL, &err));
    assert_false(err.set);
    event_base_free(base);
}

static void a_process_runs_when_it_is_told_to(void **state)
{
    char *const argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };
    struct event_base *base = loop_new();
    struct err err = ERR_INIT;
    struct process *process;
    int status = -1;

    (void)state;
    process = process_new(base, argv, NULL, 0, exited_cb, &status, &err);
    assert_non_null(process);
    assert_true(process_read_start_time(process_pid(process)) == process_start_time(process));
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(status, -1);
    assert_true(process_run(process, false, &err));
    while (status == -1)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    process_free(process);
    event_base_free(base);
}

static void a_process_that_is_not_told_to_run_ends(void **state)
{
    char *const argv[] = { (char *)"sleep", (char *)"60", NULL };
    struct event_base *base = loop_new();
    struct err err = ERR_INIT;
    struct process *process;
    pid_t pid;

    (void)state;
    process = process_new(base, argv, NULL, 0, never_cb, NULL, &err);
    assert_non_null(process);
    pid = process_pid(process);
    process_free(process);
    assert_int_equal(kill(pid, 0), -1);
    event_base_free(base);
}

static void a_program_that_cannot_be_executed_is_an_error(void **state)
{
    char *const argv[] = { (char *)"/no/such/program", NULL };
    struct event_base *base = loop_new();
    struct err err = ERR_INIT;
    struct process *process;
    struct rlimit old;

    (void)state;
    process = process_new(base, argv, NULL, 0, never_cb, NULL, &err);
    assert_non_null(process);
    assert_false(process_run(process, false, &err));
    assert_non_null(strstr(err.desc, "/no/such/program"));
    err_clear(&err);
    process_free(process);
    allow_no_files(&old);
    assert_null(process_new(base, argv, NULL, 0, never_cb, NULL, &err));
    setrlimit(RLIMIT_NOFILE, &old);
    assert_true(err.set);
    err_clear(&err);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);      /* no child is left */
    event_base_free(base);
}

/* Old versions of valgrind do not know the call by which a process is watched. */
static int pidfd_setup(void **state)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    (void)state;
    if (fd < 0) {
        printf("1..0 # SKIP no pidfd_open()\n");
        exit(0);
    }
    close(fd);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_cannot_be_looked_at_is_not_dead),
        cmocka_unit_test(a_process_that_has_ended_is_no_error),
        cmocka_unit_test(a_process_runs_when_it_is_told_to),
        cmocka_unit_test(a_process_that_is_not_told_to_run_ends),
        cmocka_unit_test(a_program_that_cannot_be_executed_is_an_error),
    };

    return cmocka_run_group_tests(tests, pidfd_setup, NULL);
}
