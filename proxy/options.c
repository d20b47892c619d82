/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/address.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* A merge that has not caught up in a day never will. */
#define OPTIONS_CONVERGE_DEFAULT 60
#define OPTIONS_CONVERGE_MAX 86400

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
    "      --converge-timeout S seconds in which a merge has to catch up with the guest; then the\n"
    "                           guest is stopped until it has (default 60, 0: at once)\n"
    "      --max-clients N      connections at a time (default 1024)\n"
    "      --max-request SIZE   of one request (default 64M, as QEMU)\n"
    "      --max-unread SIZE    of what waits for a client that does not read (default 16M)\n"
    "      --max-memory SIZE    of all that is held for clients (default 256M)\n"
    "      --log-level LEVEL    error, warning (default), info, debug or trace\n"
    "  -h, --help               show this\n"
    "  -V, --version            show the version\n"
    "\n"
    "ADDRESS is unix:PATH, PATH, tcp:HOST:PORT or fd:N, then ,mode=0660 ,group=NAME\n";

enum {
    OPTION_LOG_LEVEL = 256,
    OPTION_METRICS,
    OPTION_CONVERGE_TIMEOUT,
    OPTION_MAX_CLIENTS,
    OPTION_MAX_REQUEST,
    OPTION_MAX_UNREAD,
    OPTION_MAX_MEMORY,
};

static const struct option options_long[] = {
    { "listen", required_argument, NULL, 'l' },
    { "name", required_argument, NULL, 'n' },
    { "state-dir", required_argument, NULL, 'd' },
    { "policy", required_argument, NULL, 'p' },
    { "connect", required_argument, NULL, 'c' },
    { "metrics", required_argument, NULL, OPTION_METRICS },
    { "converge-timeout", required_argument, NULL, OPTION_CONVERGE_TIMEOUT },
    { "max-clients", required_argument, NULL, OPTION_MAX_CLIENTS },
    { "max-request", required_argument, NULL, OPTION_MAX_REQUEST },
    { "max-unread", required_argument, NULL, OPTION_MAX_UNREAD },
    { "max-memory", required_argument, NULL, OPTION_MAX_MEMORY },
    { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

/* An address is wrong on the command line, not later. */
static bool options_check_address(const char *text, struct err *err)
{
    struct address address;

    if (!address_parse(text, &address, err))
        return false;
    address_clear(&address);
    return true;
}

/* A limit: a number from 1 on, for sizes with the suffix K, M or G. */
static bool options_limit(int c, const char *name, struct options *out, struct err *err)
{
    static const char suffixes[] = "KMG";
    bool count = c == OPTION_MAX_CLIENTS;
    const char *suffix;
    unsigned shift = 0;
    char *end;
    unsigned long n;
    size_t *limit = count ? &out->max_clients
                    : c == OPTION_MAX_REQUEST ? &out->max_request
                    : c == OPTION_MAX_UNREAD ? &out->max_unread : &out->max_memory;

    errno = 0;
    n = strtoul(optarg, &end, 10);
    suffix = *end && !count ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
    if (suffix) {
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        end++;
    }
    if (!isdigit((unsigned char)optarg[0]) || errno || *end || n == 0 || n > SIZE_MAX >> 1 >> shift) {
        err_set(err, NULL, "'%s' is no value for --%s: give a number%s", optarg, name,
                count ? " from 1 on" : " of bytes from 1 on, or one with K, M or G behind it");
        return false;
    }
    *limit = (size_t)n << shift;
    return true;
}

static bool options_converge(struct options *out, struct err *err)
{
    unsigned long n;
    char *end;

    errno = 0;
    n = strtoul(optarg, &end, 10);
    if (!isdigit((unsigned char)optarg[0]) || errno || *end || n > OPTIONS_CONVERGE_MAX) {
        err_set(err, NULL, "'%s' is no value for --converge-timeout: give a number of seconds from 0 "
                "to %d", optarg, OPTIONS_CONVERGE_MAX);
        return false;
    }
    out->converge_timeout = (unsigned)n;
    return true;
}

static bool options_take(int c, struct options *out, struct err *err)
{
    enum log_level level;

    switch (c) {
    case 'l':
        out->listen[out->n_listen++] = optarg;
        return options_check_address(optarg, err);
    case OPTION_CONVERGE_TIMEOUT:
        return options_converge(out, err);
    case OPTION_MAX_CLIENTS:
        return options_limit(c, "max-clients", out, err);
    case OPTION_MAX_REQUEST:
        return options_limit(c, "max-request", out, err);
    case OPTION_MAX_UNREAD:
        return options_limit(c, "max-unread", out, err);
    case OPTION_MAX_MEMORY:
        return options_limit(c, "max-memory", out, err);
    case 'n':
        out->name = optarg;
        break;
    case 'd':
        out->state_dir = optarg;
        break;
    case 'c':
        out->connect = optarg;
        return options_check_address(optarg, err);
    case OPTION_LOG_LEVEL:
        if (!log_level_parse(optarg, &level)) {
            err_set(err, NULL, "'%s' is no log level: use error, warning, info, debug or trace", optarg);
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
    out->converge_timeout = OPTIONS_CONVERGE_DEFAULT;
    out->max_clients = 1024;
    out->max_unread = 16u << 20;
    out->max_memory = 256u << 20;
    out->listen = alloc_zeroed((size_t)argc + 1, sizeof(*out->listen));
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
    else if (out->connect && out->n_listen == 0 && !getenv("LISTEN_FDS"))
        err_set(err, NULL, "With -c there has to be at least one -l ADDRESS to listen on");
    return !err->set;
}

void options_clear(struct options *options)
{
    free(options->listen);
    memset(options, 0, sizeof(*options));
}
