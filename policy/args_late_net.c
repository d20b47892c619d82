/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Late binding of -netdev, -nic and -net, and the -device and -object that cannot be bound late. */
#include "policy/args_late_internal.h"
#include "policy/args_util.h"

#include <string.h>

/* Every forwarded port becomes a hostfwd_add; rules of the text form and of JSON
 * ("hostfwd": [{"str": RULE}]). */
static bool take_hostfwd(struct args_late *late, const struct arg *arg, const struct qemuopts *opts,
                         const char *id, struct err *err)
{
    for (size_t k = 0; k < qemuopts_count(opts); k++) {
        const struct qemuopt *item = qemuopts_at(opts, k);
        const char *rest;
        ARGS_AUTO_TEXT line = NULL;

        if (args_util_prefix(item->key, "guestfwd", NULL) && !strstr(item->value, "-cmd:"))
            return args_late_refuse(arg, err, "guestfwd connects when QEMU starts");
        if (!args_util_prefix(item->key, "hostfwd", &rest) || (*rest && *rest != '.'))
            continue;
        if (strpbrk(item->value, " \"\\"))
            return args_late_refuse(arg, err, "a hostfwd rule has blanks or quotes");
        line = args_util_format("hostfwd_add %s %s", id, item->value);
        args_late_hmp(late, line);
    }
    return true;
}

static bool net_user(struct args_late *late, size_t i, struct qemuopts *opts, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    ARGS_AUTO_TEXT id = args_util_dup(qemuopts_get(opts, "id"));

    if (qemuopts_has_group(opts, "guestfwd") && !qemuopts_has_group(opts, "hostfwd"))
        return take_hostfwd(late, arg, opts, "", err);
    if (!qemuopts_has_group(opts, "hostfwd"))
        return true;
    if (!id) {
        /* QEMU would make up a random one, and hostfwd_add has to name it. */
        id = args_util_format("qp-net%u", late->made++);
        qemuopts_set(opts, "id", id);
    }
    if (!take_hostfwd(late, arg, opts, id, err))
        return false;
    qemuopts_remove_group(opts, "hostfwd");
    args_late_replace(late, i, opts);
    return true;
}

static bool has_any(const struct qemuopts *opts, const char *const *keys)
{
    for (; *keys; keys++) {
        if (qemuopts_has_group(opts, *keys))
            return true;
    }
    return false;
}

/* Whether QEMU itself has a new interface put where it belongs: by a script (there is a default) or
 * by the helper. */
static bool tap_set_up(const struct qemuopts *opts)
{
    return qemuopts_get(opts, "helper") || !args_util_same(qemuopts_get(opts, "script"), "no");
}

static bool net_shareable(const struct qemuopts *opts, const char *type)
{
    static const char *const always[] = { "none", "nic", "hubport", "bridge", NULL };
    /* What is named or handed over is one process's; without it each gets its own. */
    static const char *const tap_own[] = { "ifname", "fd", "fds", "vhostfd", "vhostfds", NULL };
    static const char *const vde_own[] = { "port", NULL };
    static const char *const socket_own[] = { "fd", "listen", "connect", "udp", NULL };

    if (args_util_listed(type, always))
        return true;
    if (strcmp(type, "tap") == 0)
        return !has_any(opts, tap_own) && tap_set_up(opts);
    if (strcmp(type, "vde") == 0)
        return !has_any(opts, vde_own);
    return strcmp(type, "socket") == 0 && qemuopts_get(opts, "mcast") &&
           !has_any(opts, socket_own);
}

bool args_late_net(struct args_late *late, size_t i, struct err *err)
{
    const struct arg *arg = args_at(late->args, i);
    struct qemuopts *opts = qemuopts_parse(arg->value, "type", err);
    const char *type;
    bool ok;

    if (!opts)
        return false;
    type = qemuopts_get(opts, "type") ?: "";
    if (strcmp(type, "user") == 0)
        ok = net_user(late, i, opts, err);
    else
        ok = net_shareable(opts, type) ||
             args_late_refuse(arg, err, "its host side is one process's");
    qemuopts_free(opts);
    return ok;
}

/* ---- devices and objects ---- */

bool args_late_device(const struct arg *arg, struct err *err)
{
    /* vhost-vsock's guest-cid, vhost-user's sockets, passed-through hardware. */
    static const char *const prefixes[] = { "vhost-", "vfio-", "usb-host", "u2f-passthru",
        "ivshmem-doorbell", "scsi-generic", "scsi-block", "virtio-input-host",
        "ccid-card-emulated", "vdpa", "xen-", NULL };
    struct qemuopts *opts = qemuopts_parse(arg->value, "driver", err);
    const char *driver;
    bool ok = true;

    if (!opts)
        return false;
    driver = qemuopts_get(opts, "driver") ?: "";
    for (size_t k = 0; ok && prefixes[k]; k++) {
        if (args_util_prefix(driver, prefixes[k], NULL))
            ok = args_late_refuse(arg, err, "the device holds something of the host for itself");
    }
    qemuopts_free(opts);
    return ok;
}

bool args_late_object(const struct arg *arg, struct err *err)
{
    /* Two may open what these open; what is not here counts as exclusive. */
    static const char *const shareable[] = { "iothread", "main-loop", "thread-context",
        "throttle-group", "secret", "secret_keyring", "tls-creds-anon", "tls-creds-psk",
        "tls-creds-x509", "tls-cipher-suites", "authz-list", "authz-list-file", "authz-pam",
        "authz-simple", "rng-random", "rng-builtin", "memory-backend-ram",
        "memory-backend-memfd", "memory-backend-shm", "cryptodev-backend-builtin",
        "cryptodev-backend-lkcf", "can-bus", "can-host-socketcan", "filter-buffer",
        "filter-replay", "filter-rewriter", "pr-manager-helper", "sev-guest", "sev-snp-guest",
        "acpi-generic-initiator", NULL };
    struct qemuopts *opts = qemuopts_parse(arg->value, "qom-type", err);
    const char *type;
    bool ok = true;

    if (!opts)
        return false;
    type = qemuopts_get(opts, "qom-type") ?: "";
    if (strcmp(type, "memory-backend-file") == 0) {
        if (qemuopts_get_bool(opts, "share", false) && !qemuopts_get_bool(opts, "readonly", false))
            ok = args_late_refuse(arg, err, "the new process would write into the memory of the "
                                  "running guest; use share=off");
    } else if (!args_util_listed(type, shareable)) {
        ok = args_late_refuse(arg, err, "it is not known that two processes can share it");
    }
    qemuopts_free(opts);
    return ok;
}
