/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/log.h"

const char options_usage[] =
    "Usage: qmp-proxy [OPTION]... -- qemu-system-x86_64 ARG...\n"
    "       qmp-proxy [OPTION]... -c ADDRESS\n"
    "\n"
    "Stands between QMP clients and QEMU: passes everything through, for many clients at once,\n"
    "and adds snapshot-create, snapshot-revert, snapshot-delete and query-snapshots.\n"
    "\n"
    "  -l, --listen ADDRESS     listen there for clients, besides where QEMU's own -qmp and -mon\n"
    "                           arguments say; may be repeated\n"
    "  -n, --name NAME          name of the VM (default: QEMU's -name)\n"
    "  -d, --state-dir DIR      folder for what is kept about the VM\n"
    "  -c, --connect ADDRESS    stand before a QEMU that runs already\n"
    "      --log-level LEVEL    error, warning (default), info or debug\n"
    "  -h, --help               show this\n"
    "  -V, --version            show the version\n"
    "\n"
    "ADDRESS is unix:PATH, PATH, tcp:HOST:PORT or fd:N, then ,mode=0660 ,group=NAME\n";

enum { OPTION_LOG_LEVEL = 256, OPTION_METRICS };

static const struct option options_long[] = {
    { "listen", required_argument, NULL, 'l' },
    { "name", required_argument, NULL, 'n' },
    { "state-dir", required_argument, NULL, 'd' },
    { "policy", required_argument, NULL, 'p' },
    { "connect", required_argument, NULL, 'c' },
    { "metrics", required_argument, NULL, OPTION_METRICS },
    { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

static bool options_take(int c, struct options *out, struct err *err)
{
    enum log_level level;

    switch (c) {
    case 'l':
        out->listen[out->n_listen++] = optarg;
        break;
    case 'n':
        out->name = optarg;
        break;
    case 'd':
        out->state_dir = optarg;
        break;
    case 'c':
        out->connect = optarg;
        break;
    case OPTION_LOG_LEVEL:
        if (!log_level_parse(optarg, &level)) {
            err_set(err, NULL, "'%s' is no log level: use error, warning, info or debug", optarg);
            return false;
        }
        log_set_level(level);
        break;
    case 'p':
    case OPTION_METRICS:
        err_set(err, NULL, "%s is not available yet", c == 'p' ? "-p (--policy)" : "--metrics");
        return false;
    case 'h':
        out->help = true;
        break;
    case 'V':
        out->version = true;
        break;
    default:
        err_set(err, NULL, "Try 'qmp-proxy --help'");
        return false;
    }
    return true;
}

bool options_parse(int argc, char *argv[], struct options *out, struct err *err)
{
    int c;

    memset(out, 0, sizeof(*out));
    out->listen = calloc((size_t)argc + 1, sizeof(*out->listen));
    if (!out->listen)
        abort();
    /* '+': stop at the first word that is no option, which is QEMU's. */
    while ((c = getopt_long(argc, argv, "+l:n:d:p:c:hV", options_long, NULL)) != -1)
        if (!options_take(c, out, err))
            return false;
    if (out->help || out->version)
        return true;
    out->qemu_argc = argc - optind;
    out->qemu_argv = argv + optind;
    if (out->name && out->name[0] == '\0')
        err_set(err, NULL, "The name behind -n is empty");
    else if (out->connect && out->qemu_argc > 0)
        err_set(err, NULL, "Either -c ADDRESS or a QEMU command line behind --, not both");
    else if (!out->connect && out->qemu_argc == 0)
        err_set(err, NULL, "Give a QEMU command line behind --, or -c ADDRESS");
    else if (out->connect && out->n_listen == 0)
        err_set(err, NULL, "With -c there has to be at least one -l ADDRESS to listen on");
    return !err->set;
}

void options_clear(struct options *options)
{
    free(options->listen);
    memset(options, 0, sizeof(*options));
}
