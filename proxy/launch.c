/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "policy/planner.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"
#include "proxy/background.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/neighbours.h"
#include "proxy/observer.h"
#include "proxy/recover.h"
#include "proxy/sock.h"
#include "qmp/alloc.h"

/* new: a name for a VM that has none: the same for the same command line in the same folder. */
static char *launch_make_name(const struct options *options)
{
    XXH3_state_t *hash = XXH3_createState();
    char *cwd = realpath(".", NULL), *name;

    if (!hash || (!cwd && errno == ENOMEM))
        alloc_fail();
    if (!cwd)
        cwd = alloc_copy("?"); /* it was removed */
    XXH3_64bits_reset(hash);
    XXH3_64bits_update(hash, cwd, strlen(cwd) + 1);
    for (int i = 0; i < options->qemu_argc; i++)
        XXH3_64bits_update(hash, options->qemu_argv[i], strlen(options->qemu_argv[i]) + 1);
    if (options->connect)
        XXH3_64bits_update(hash, options->connect, strlen(options->connect) + 1);
    name = alloc_print("vm-%016llx", (unsigned long long)XXH3_64bits_digest(hash));
    XXH3_freeState(hash);
    free(cwd);
    return name;
}

static bool launch_open_store(struct daemon *daemon, struct err *err)
{
    const struct options *options = &daemon->options;
    const char *given = options->name ? options->name
                        : daemon->args ? args_name(daemon->args) : NULL;
    char *path;

    daemon->name_made = (!given || !given[0]) && !options->state_dir;
    daemon->vm_name = given && given[0] ? alloc_copy(given) : launch_make_name(options);
    path = options->state_dir ? alloc_copy(options->state_dir) : store_default_path(daemon->vm_name);
    daemon->store = store_open(path, err);
    free(path);
    if (daemon->store)
        deeds_lend_lock(daemon->store->dirfd);
    return daemon->store != NULL;
}

/* qemu-img of the same build lies beside the binary; else the one in PATH. */
static char *launch_find_qemu_img(const char *binary)
{
    const char *slash = strrchr(binary, '/');
    char *path = slash ? alloc_print("%.*s/qemu-img", (int)(slash - binary), binary) : NULL;

    if (path && access(path, X_OK) == 0)
        return path;
    free(path);
    return alloc_copy("qemu-img");
}

static json_t *launch_user_argv(const struct options *options)
{
    json_t *words = json_array();

    for (int i = 0; i < options->qemu_argc; i++) {
        json_t *word = json_string(options->qemu_argv[i]);

        /* A word that is not UTF-8 is remembered by something that is as unlikely to match. */
        json_array_append_new(words, word ? word : json_string("(not UTF-8)"));
    }
    return words;
}

static bool launch_take_args(struct daemon *daemon, struct args_monitors *monitors,
                             struct args_daemonize *background, struct err *err)
{
    const struct options *options = &daemon->options;

    daemon->args = args_parse(options->qemu_argc, options->qemu_argv, err);
    if (!daemon->args || !args_take_monitors(daemon->args, monitors, err))
        return false;
    args_take_daemonize(daemon->args, background);
    args_add_default_monitor(daemon->args);
    if (!args_disks_find(daemon->args, &daemon->args_disks, err))
        return false;
    daemon->qemu_img = launch_find_qemu_img(args_binary(daemon->args));
    return true;
}

/* new: the command line for the VM's current layers; looks at the host's files, blocking: nobody is
 * served yet. */
static char **launch_cold_argv(struct daemon *daemon, struct err *err)
{
    json_t *paths, *found = NULL;
    struct world world;
    char **argv = NULL;

    collect_static(daemon, &world);
    paths = collect_paths(&world, daemon->store->state);
    if (deed_inspect(paths, &found, err)) {
        world.files = json_incref(json_object_get(found, "files"));
        world.rooms = json_incref(json_object_get(found, "rooms"));
        if (neighbours_allow(daemon->store, &world, err))
            argv = planner_start(&world, daemon->store->state, err);
    }
    json_decref(paths);
    json_decref(found);
    json_decref(world.files);
    json_decref(world.rooms);
    return argv;
}

/* The configuration that clients made belongs to a process that is gone, and so does the command line of a
 * snapshot; of disks that no snapshot knows nothing has to be known. */
static void launch_forget(struct daemon *daemon)
{
    json_t *state = json_deep_copy(daemon->store->state);
    bool any = state_forget_disks(state);

    any = json_array_size(json_object_get(state, "config")) > 0 || any;
    any = json_object_del(state, "args") == 0 || any;
    json_object_set_new(state, "config", json_array());
    if (any)
        store_write_or_keep(daemon->store, state);
    json_decref(state);
}

static bool launch_qemu(struct daemon *daemon, struct err *err)
{
    char **argv;
    bool ok;

    if (!recover_present(daemon, &ok, err) || ok)
        return ok;
    if (recover_relaunch(daemon))
        return true;
    if (!recover_cold(daemon, err))
        return false;
    launch_forget(daemon);
    argv = launch_cold_argv(daemon, err);
    if (!argv)
        return false;
    store_forget_process(daemon->store);
    ok = vm_start(daemon->vm, argv, err);
    args_strv_free(argv);
    if (ok)
        launch_write_pidfile(daemon);
    return ok;
}

void launch_client_came(struct daemon *daemon)
{
    if (!daemon->waits_for_client)
        return;
    daemon->waits_for_client = false;
    launch_again(daemon);
}

static void launch_next_ready_cb(void *arg, bool ok, struct err *err)
{
    struct daemon *daemon = arg;

    if (ok) {
        recover_hot(daemon);
        return;
    }
    log_error("%s", err->desc);
    daemon_quit(daemon, 1);
}

static void launch_discarded_cb(void *arg, bool ok, struct err *err)
{
    (void)ok;
    (void)err;
    launch_again(arg);
}

/* There is a second QEMU: behind its commit point the revert goes on with it, before that it is in the way. */
static bool launch_next(struct daemon *daemon, struct err *err)
{
    bool wants;

    if (!recover_wants_next(daemon, &wants, err)) {
        vm_leave_next(daemon->vm); /* it may be the VM: the next proxy can tell, perhaps */
        return false;
    }
    if (!wants)
        vm_discard_next(daemon->vm, launch_discarded_cb, daemon);
    else if (link_ready(vm_next(daemon->vm)))
        recover_hot(daemon);
    else
        vm_await_next(daemon->vm, launch_next_ready_cb, daemon);
    return true;
}

void launch_again(struct daemon *daemon)
{
    struct err err = ERR_INIT;

    if (vm_next(daemon->vm) ? launch_next(daemon, &err) : launch_qemu(daemon, &err))
        return;
    log_error("%s", err.desc);
    err_clear(&err);
    daemon_quit(daemon, 1);
}

/* An earlier proxy's QEMU, or the second one of a revert that was past its commit point. */
static bool launch_find(struct daemon *daemon, bool *found, struct err *err)
{
    bool next = false, wants = false;

    if (!vm_adopt(daemon->vm, found, err))
        return false;
    if (!*found && !recover_wants_next(daemon, &wants, err))
        return false;
    if ((*found || wants) &&
        !vm_adopt_next(daemon->vm, &next, *found ? NULL : launch_next_ready_cb, daemon, err))
        return false;
    *found = *found || next;
    return *found || vm_end_stale_next(daemon->vm, err);
}

static bool launch_own(struct daemon *daemon, struct err *err)
{
    bool found;

    if (!launch_find(daemon, &found, err))
        return false;
    if (found) {
        log_info("found QEMU running (pid %ld)", vm_pid(daemon->vm));
        daemon->waits_for_client = false;
        daemon->adopted = true;
        launch_write_pidfile(daemon);
        return true;
    }
    if (daemon->waits_for_client) {
        log_info("waiting for a client before QEMU is started");
        return true;
    }
    return launch_qemu(daemon, err);
}

static bool launch_listen(struct daemon *daemon, const struct args_monitors *monitors,
                          struct err *err)
{
    if (!listener_add_activated(daemon, err))
        return false;
    for (size_t i = 0; i < daemon->options.n_listen; i++)
        if (!listener_add_text(daemon, daemon->options.listen[i], err))
            return false;
    for (size_t i = 0; i < monitors->n; i++)
        if (!listener_add_monitor(daemon, &monitors->v[i], err))
            return false;
    return true;
}

static bool launch_attach(struct daemon *daemon, struct err *err)
{
    struct address address;

    if (!address_parse(daemon->options.connect, &address, err))
        return false;
    daemon->qemu_img = alloc_copy("qemu-img");
    vm_attach(daemon->vm, &address);
    return true;
}

/* Created and locked as QEMU does it (util/oslib-posix.c, qemu_write_pidfile): a second VM with the
 * same file does not start. */
static bool launch_open_pidfile(struct daemon *daemon, struct err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd;

    if (!daemon->pidfile)
        return true;
    fd = open(daemon->pidfile, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(err, REASON_FILE_UNUSABLE, "cannot create PID file: Cannot open pid file '%s': %s",
                daemon->pidfile, strerror(errno));
        return false;
    }
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        err_set(err, REASON_FILE_UNUSABLE, "cannot create PID file: Cannot lock pid file '%s': %s",
                daemon->pidfile, strerror(errno));
        close(fd);
        return false;
    }
    daemon->pidfile_fd = fd;
    return true;
}

void launch_write_pidfile(struct daemon *daemon)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", vm_pid(daemon->vm));

    if (daemon->pidfile_fd < 0 || !vm_has_process(daemon->vm))
        return;
    if (ftruncate(daemon->pidfile_fd, 0) < 0 ||
        pwrite(daemon->pidfile_fd, text, (size_t)len, 0) != len)
        log_error("cannot write the pid file '%s': %s", daemon->pidfile, strerror(errno));
}

void launch_remove_pidfile(struct daemon *daemon)
{
    if (daemon->pidfile_fd < 0)
        return;
    unlink(daemon->pidfile);
    close(daemon->pidfile_fd);
    daemon->pidfile_fd = -1;
}

bool launch_start(struct daemon *daemon, struct err *err)
{
    struct args_monitors monitors = ARGS_MONITORS_INIT;
    struct args_daemonize background = { .daemonize = false };
    bool attach = daemon->options.connect != NULL;
    json_t *user_argv = launch_user_argv(&daemon->options);
    bool ok = attach || launch_take_args(daemon, &monitors, &background, err);

    daemon->pidfile = background.pidfile;
    daemon->pidfile_fd = -1;
    if (ok && background.daemonize)
        background_fork();
    /* Behind the fork: the lock belongs to a process. */
    ok = ok && launch_open_pidfile(daemon, err);
    if (ok) {
        daemon_init(daemon);
        ok = launch_open_store(daemon, err);
    }
    if (ok) {
        background_redirect(daemon->store->run_fd);
        daemon_make_vm(daemon, user_argv);
        ok = launch_listen(daemon, &monitors, err) &&
             (attach ? launch_attach(daemon, err) : launch_own(daemon, err));
    }
    args_monitors_clear(&monitors);
    json_decref(user_argv);
    return ok;
}

void launch_ready(struct daemon *daemon)
{
    background_release(0);
    recover_hot(daemon);
    /* It has run on while nobody was there to see what clients do. */
    if (daemon->adopted || !daemon->args)
        observer_look(daemon->observer, NULL, NULL);
}
