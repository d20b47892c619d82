/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "proxy/background.h"
#include "proxy/daemon.h"
#include "proxy/launch.h"
#include "proxy/listener.h"
#include "proxy/log.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

/* A standard descriptor that is closed would be taken by the next file that is opened. */
static void main_fill_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char *argv[])
{
    struct daemon daemon;
    struct err err = ERR_INIT;
    struct termios tty;
    bool on_tty = tcgetattr(STDIN_FILENO, &tty) == 0;

    main_fill_standard();
    memset(&daemon, 0, sizeof(daemon));
    if (!options_parse(argc, argv, &daemon.options, &err)) {
        fprintf(stderr, "qmp-proxy: %s\n", err.desc);
        options_clear(&daemon.options);
        return 2;
    }
    if (daemon.options.help || daemon.options.version) {
        printf("%s", daemon.options.help ? options_usage : "qmp-proxy " VERSION "\n");
        options_clear(&daemon.options);
        return 0;
    }
    daemon.exit_status = 1;
    if (launch_start(&daemon, &err))
        event_base_dispatch(daemon.base);
    else
        log_error("%s", err.desc);
    err_clear(&err);
    listener_close_all(&daemon);
    background_release(daemon.exit_status ? 1 : 0);
    if (daemon.base)
        daemon_free(&daemon);
    /* A QEMU that was killed for another one has left the terminal as it needed it. */
    if (on_tty)
        tcsetattr(STDIN_FILENO, TCSANOW, &tty);
    return daemon.exit_status;
}
