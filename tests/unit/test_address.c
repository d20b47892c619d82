/* SPDX-License-Identifier: GPL-2.0-or-later */
/* address: QEMU's notation of where to listen; what is loopback and what only looks like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/address.h"

static void assert_text(const char *have, const char *want)
{
    if (want) {
        assert_non_null(have);
        assert_string_equal(have, want);
    } else {
        assert_null(have);
    }
}

static void assert_empty(const struct address *address)
{
    assert_null(address->path);
    assert_null(address->host);
    assert_null(address->port);
    assert_null(address->group);
    assert_int_equal(address->fd, -1);
    assert_int_equal(address->mode, -1);
}

static void places_are_understood(void **state)
{
    static const struct {
        const char *text;
        enum address_kind kind;
        const char *path, *host, *port;
        int fd;
    } rows[] = {
        { "unix:/run/x.sock", ADDRESS_UNIX, "/run/x.sock", NULL, NULL, -1 },
        { "/run/x.sock", ADDRESS_UNIX, "/run/x.sock", NULL, NULL, -1 },
        { "x.sock", ADDRESS_UNIX, "x.sock", NULL, NULL, -1 },
        { "unix:a,,b", ADDRESS_UNIX, "a,b", NULL, NULL, -1 },
        { "unix:unix:x", ADDRESS_UNIX, "unix:x", NULL, NULL, -1 },
        { "./tcp:1", ADDRESS_UNIX, "./tcp:1", NULL, NULL, -1 },
        { "tcp:localhost:4444", ADDRESS_TCP, NULL, "localhost", "4444", -1 },
        { "tcp::4444", ADDRESS_TCP, NULL, "127.0.0.1", "4444", -1 },
        { "tcp:[::1]:65535", ADDRESS_TCP, NULL, "::1", "65535", -1 },
        { "tcp:::1:0", ADDRESS_TCP, NULL, "::1", "0", -1 },
        { "fd:0", ADDRESS_FD, NULL, NULL, NULL, 0 },
        { "fd:12", ADDRESS_FD, NULL, NULL, NULL, 12 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = ERR_INIT;
        struct address address;

        if (!address_parse(rows[i].text, &address, &err))
            fail_msg("%s: %s", rows[i].text, err.desc);
        assert_false(err.set);
        assert_int_equal(address.kind, rows[i].kind);
        assert_text(address.path, rows[i].path);
        assert_text(address.host, rows[i].host);
        assert_text(address.port, rows[i].port);
        assert_int_equal(address.fd, rows[i].fd);
        assert_int_equal(address.mode, -1);
        assert_null(address.group);
        assert_false(address.insecure);
        address_clear(&address);
        assert_empty(&address);
    }
}

static void options_are_understood(void **state)
{
    struct err err = ERR_INIT;
    struct address address;

    (void)state;
    assert_true(address_parse("unix:/x,role=admin,mode=0660,group=a,group=kvm,insecure=on",
                              &address, &err));
    assert_string_equal(address.path, "/x");
    assert_int_equal(address.mode, 0660);
    assert_string_equal(address.group, "kvm");
    assert_true(address.insecure);
    address_clear(&address);
    assert_true(address_parse("/x,server=on,wait=off,nodelay=on,ipv4=on,ipv6=off,telnet=off,"
                              "reconnect=1,reconnect-ms=2,insecure=off", &address, &err));
    assert_false(address.insecure);
    assert_int_equal(address.mode, -1);
    address_clear(&address);
    assert_true(address_parse("/x,server,nowait", &address, &err));
    address_clear(&address);
}

/* In QEMU's short form it is "delay" with "no" before it. */
static void nodelay_is_understood_as_a_word(void **state)
{
    struct err err = ERR_INIT;
    struct address address;

    (void)state;
    if (!address_parse("tcp::1,server,nowait,nodelay", &address, &err))
        fail_msg("%s", err.desc);
    address_clear(&address);
}

/* Each with a word that the sentence names, so that the user sees which part is meant. */
static void what_is_no_address_is_refused_by_its_part(void **state)
{
    static const char *const rows[][2] = {
        { "", "empty" },
        { "unix:", "empty" },
        { "tcp:4444", "port" },
        { "tcp:host:", "port" },
        { "tcp:host:x", "'x'" },
        { "tcp:host:-1", "'-1'" },
        { "tcp:host:65536", "'65536'" },
        { "tcp:host:99999999999999999999", "'99999999999999999999'" },
        { "tcp:host:44 ", "'44 '" },
        { "tcp:host:0x10", "'0x10'" },
        { "fd:", "'fd:'" },
        { "fd:x", "'fd:x'" },
        { "fd:-1", "'fd:-1'" },
        { "fd:1048577", "'fd:1048577'" },
        { "fd:3x", "'fd:3x'" },
        { "/x,mode=", "mode=" },
        { "/x,mode=0668", "mode=0668" },
        { "/x,mode=1777", "mode=1777" },
        { "/x,mode=-1", "mode=-1" },
        { "/x,role=reader", "role=reader" },
        { "/x,rule=admin", "'rule'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = ERR_INIT;
        struct address address;

        if (address_parse(rows[i][0], &address, &err))
            fail_msg("'%s' was taken", rows[i][0]);
        assert_true(err.set);
        if (!strstr(err.desc, rows[i][1]))
            fail_msg("'%s': %s", rows[i][0], err.desc);
        err_clear(&err);
        assert_empty(&address);
    }
}

static bool loopback(const char *text)
{
    struct err err = ERR_INIT;
    struct address address;
    bool is;

    if (!address_parse(text, &address, &err))
        fail_msg("%s: %s", text, err.desc);
    is = address_is_loopback(&address);
    address_clear(&address);
    return is;
}

static void only_loopback_is_loopback(void **state)
{
    static const char *const near[] = {
        "tcp::1", "tcp:127.0.0.1:1", "tcp:127.255.0.9:1", "tcp:localhost:1", "tcp:[::1]:1", NULL,
    };
    static const char *const far[] = {
        "tcp:0.0.0.0:1", "tcp:[::]:1", "tcp:10.0.0.1:1", "tcp:128.0.0.1:1", "tcp:example.org:1",
        "tcp:localhost.example.org:1", "tcp:1.127.0.0.1:1", "tcp:[::2]:1", NULL,
    };

    (void)state;
    for (size_t i = 0; near[i]; i++)
        if (!loopback(near[i]))
            fail_msg("%s is loopback", near[i]);
    for (size_t i = 0; far[i]; i++)
        if (loopback(far[i]))
            fail_msg("%s is not loopback", far[i]);
}

/* Whoever owns the name's domain decides where it leads. */
static void name_that_begins_like_loopback_is_not(void **state)
{
    (void)state;
    assert_false(loopback("tcp:127.example.org:1"));
    assert_false(loopback("tcp:127.0.0.1.example.org:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_understood),
        cmocka_unit_test(options_are_understood),
        cmocka_unit_test(nodelay_is_understood_as_a_word),
        cmocka_unit_test(what_is_no_address_is_refused_by_its_part),
        cmocka_unit_test(only_loopback_is_loopback),
        cmocka_unit_test(name_that_begins_like_loopback_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
