/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fdpass: a descriptor stays with the byte that it came with, whenever that arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/fdpass.h"

enum { FROM, TO };

static int pair_open(void **state)
{
    static int pair[2];

    *state = pair;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
}

static int pair_close(void **state)
{
    int *pair = *state;

    return close(pair[FROM]) || close(pair[TO]);
}

/* text; with_fd: a descriptor with its first byte. */
static void put(const int *pair, const char *text, bool with_fd)
{
    ssize_t n = with_fd ? fdpass_send(pair[FROM], text, strlen(text), &pair[FROM], 1)
                        : send(pair[FROM], text, strlen(text), 0);

    assert_int_equal(n, strlen(text));
}

/* Receives step bytes; they are this text, and that many descriptors came with it. */
static void get(const int *pair, size_t step, const char *text, size_t n_fds_wanted)
{
    char data[64];
    int fds[FDPASS_MAX];
    size_t n_fds;
    ssize_t n = fdpass_recv(pair[TO], data, step, fds, &n_fds);

    assert_int_equal(n, strlen(text));
    assert_memory_equal(data, text, strlen(text));
    assert_int_equal(n_fds, n_fds_wanted);
    while (n_fds > 0)
        assert_int_equal(close(fds[--n_fds]), 0);
}

static size_t step_of(const int *pair)
{
    char data[64];

    return fdpass_step(pair[TO], data, sizeof(data));
}

static void what_came_before_is_not_joined_to_it(void **state)
{
    const int *pair = *state;

    put(pair, "ab", false);
    put(pair, "cd", true);
    put(pair, "ef", false);
    get(pair, step_of(pair), "a", 0);
    get(pair, step_of(pair), "b", 0);
    get(pair, step_of(pair), "c", 1);
    get(pair, step_of(pair), "def", 0);
}

static void what_comes_between_the_look_and_the_read_waits(void **state)
{
    const int *pair = *state;
    size_t step;

    put(pair, "ab", false);
    step = step_of(pair);
    put(pair, "cd", true);
    get(pair, step, "ab", 0);
    get(pair, step_of(pair), "c", 1);
    get(pair, step_of(pair), "d", 0);
}

static void nothing_there_is_no_leave_to_read_much(void **state)
{
    const int *pair = *state;
    size_t step = step_of(pair);

    put(pair, "ab", false);
    put(pair, "cd", true);
    get(pair, step, "a", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_before_is_not_joined_to_it, pair_open, pair_close),
        cmocka_unit_test_setup_teardown(what_comes_between_the_look_and_the_read_waits, pair_open,
                                        pair_close),
        cmocka_unit_test_setup_teardown(nothing_there_is_no_leave_to_read_much, pair_open, pair_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
