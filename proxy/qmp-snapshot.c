/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-snapshot: the proxy's four commands for people and scripts; see qmp-snapshot.pod.
 *
 * Model: a row of commands[] per word of the command line, a row of members[] per option that
 * becomes a member of the arguments.  Which values a member may have is the proxy's business: an
 * old client works with a newer proxy.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef VERSION
#define VERSION "unknown"
#endif

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/snapshot_print.h"
#include "proxy/snapshot_wire.h"

#define PROGRAM "qmp-snapshot"
#define TIMEOUT_DEFAULT 10.0    /* seconds */
#define TIMEOUT_MAX 86400.0

enum exit_code { EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_CONNECTION };

enum { CREATE = 1, REVERT = 2, DELETE = 4 };

static const struct member {
    const char *option;         /* without the dashes */
    const char *name;           /* of the QMP member */
    enum { TEXT, FLAG, LIST } kind;
    unsigned commands;
} members[] = {
    { "description", "description", TEXT, CREATE },
    { "disk", "disks", LIST, CREATE },
    { "memory", "memory", TEXT, CREATE },
    { "live", "live", FLAG, CREATE },
    { "state", "state", TEXT, REVERT },
    { "method", "method", TEXT, REVERT },
    { "discard", "discard", FLAG, REVERT },
    { "save-as", "save-as", TEXT, REVERT },
    { "children", "children", TEXT, DELETE },
    { "direction", "direction", TEXT, DELETE },
    { "metadata-only", "metadata-only", FLAG, DELETE },
    { "dry-run", "dry-run", FLAG, CREATE | REVERT | DELETE },
    { "job-id", "job-id", TEXT, CREATE | REVERT | DELETE },
};
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

struct call {
    const char *address;
    double timeout;
    bool raw, explain;
    unsigned given;             /* bit i: members[i] was given */
    const struct command *command;
    const char *name;           /* of the snapshot, or NULL */
    json_t *arguments;
};

struct command {
    const char *word;
    unsigned bit;               /* CREATE, ... or 0 for a query */
    const char *qmp;
    enum { NAME_NONE, NAME_MAY, NAME_MUST } naming;
    enum exit_code (*show)(const struct call *call, const json_t *value);
};

static enum exit_code usage_error(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s%s%s\nTry '%s --help'.\n", PROGRAM, what, which ? " " : "",
            which ? which : "", PROGRAM);
    return EXIT_USAGE;
}

static enum exit_code shape_error(void)
{
    fprintf(stderr, "%s: the answer is not of the documented form\n", PROGRAM);
    return EXIT_CONNECTION;
}

static enum exit_code show_list(const struct call *call, const json_t *value)
{
    (void)call;
    snapshot_print_list(stdout, value);
    return EXIT_DONE;
}

static enum exit_code show_tree(const struct call *call, const json_t *value)
{
    (void)call;
    snapshot_print_tree(stdout, value);
    return EXIT_DONE;
}

static enum exit_code show_one(const struct call *call, const json_t *value)
{
    if (json_array_size(value) == 0) {
        fprintf(stderr, "%s: there is no snapshot ", PROGRAM);
        snapshot_print_text(stderr, call->name, 0);
        putc('\n', stderr);
        return EXIT_REFUSED;
    }
    snapshot_print_show(stdout, json_array_get(value, 0));
    return EXIT_DONE;
}

static enum exit_code show_verify(const struct call *call, const json_t *value)
{
    (void)call;
    return snapshot_print_verify(stdout, value) > 0 ? EXIT_REFUSED : EXIT_DONE;
}

static enum exit_code show_result(const struct call *call, const json_t *value)
{
    const json_t *plan = json_object_get(value, "plan");

    if (json_is_true(json_object_get(call->arguments, "dry-run"))) {
        if (!json_is_array(plan))
            return shape_error();
        snapshot_print_plan(stdout, plan);
        snapshot_print_reasons(stdout, json_object_get(value, "reasons"));
    } else if (json_object_get(call->arguments, "job-id")) {
        printf("Started as job ");
        snapshot_print_text(stdout, json_string_value(json_object_get(call->arguments, "job-id")),
                            0);
        printf(".\n");
    } else {
        snapshot_print_result(stdout, call->command->qmp, call->name, value);
    }
    return EXIT_DONE;
}

static const struct command commands[] = {
    { "list", 0, "query-snapshots", NAME_NONE, show_list },
    { "tree", 0, "query-snapshots", NAME_NONE, show_tree },
    { "show", 0, "query-snapshots", NAME_MUST, show_one },
    { "verify", 0, "query-snapshots", NAME_MAY, show_verify },
    { "create", CREATE, "snapshot-create", NAME_MUST, show_result },
    { "revert", REVERT, "snapshot-revert", NAME_MUST, show_result },
    { "delete", DELETE, "snapshot-delete", NAME_MUST, show_result },
};

static void help_print(void)
{
    printf("Usage: %s [-s ADDRESS] [--json] [--timeout S] COMMAND [NAME] [OPTION]...\n\n"
           "  list                     the snapshots, one a line\n"
           "  tree                     the snapshots as a tree\n"
           "  show NAME                everything about one\n"
           "  verify [NAME]            check images and memory against the record\n"
           "  create NAME              [--description TEXT] [--disk D]... [--live]\n"
           "                           [--memory stream|vmstate|none]\n"
           "  revert NAME              [--state as-saved|running|paused|prelaunch]\n"
           "                           [--method auto|in-place|respawn|standby|replace]\n"
           "                           [--discard] [--save-as NAME]\n"
           "  delete NAME              [--children keep|include|only] [--metadata-only]\n"
           "                           [--direction auto|commit|stream]\n"
           "  explain COMMAND NAME     what create, revert or delete would do\n"
           "\n"
           "create, revert, delete     [--dry-run] [--job-id ID]\n"
           "-s, --address ADDRESS      unix:PATH, PATH or tcp:HOST:PORT of the proxy\n"
           "                           (default: $QMP_SNAPSHOT_ADDRESS)\n"
           "    --json                 print what the proxy returned as JSON\n"
           "    --timeout S            seconds to wait for a connection (default: %.0f)\n"
           "-h, --help                 print this and exit\n"
           "-V, --version              print the version and exit\n", PROGRAM, TIMEOUT_DEFAULT);
}

/* Takes the value of an option into the arguments; false when it is no UTF-8. */
static bool member_take(struct call *call, size_t i, const char *value)
{
    json_t *list = json_object_get(call->arguments, members[i].name);
    json_t *text = members[i].kind == FLAG ? json_true() : json_string(value);

    if (!text)
        return false;
    call->given |= 1u << i;
    if (members[i].kind != LIST) {
        json_object_set_new(call->arguments, members[i].name, text);
        return true;
    }
    if (!list) {
        list = json_array();
        json_object_set_new(call->arguments, members[i].name, list);
    }
    json_array_append_new(list, text);
    return true;
}

static bool timeout_take(struct call *call, const char *text)
{
    char *end;

    call->timeout = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(call->timeout) && call->timeout > 0 &&
           call->timeout <= TIMEOUT_MAX;
}

enum { OPT_JSON = 1, OPT_TIMEOUT, OPT_MEMBER = 256 };

static void options_fill(struct option *options)
{
    static const struct option fixed[] = {
        { "address", required_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' }, { "json", no_argument, NULL, OPT_JSON },
        { "timeout", required_argument, NULL, OPT_TIMEOUT },
    };
    const size_t n = sizeof(fixed) / sizeof(fixed[0]);

    memcpy(options, fixed, sizeof(fixed));
    for (size_t i = 0; i < N_MEMBERS; i++)
        options[n + i] = (struct option){
            members[i].option, members[i].kind == FLAG ? no_argument : required_argument, NULL,
            OPT_MEMBER + (int)i,
        };
}

/* One option; *done is set when the program has nothing more to do. */
static enum exit_code option_take(struct call *call, int opt, bool *done)
{
    switch (opt) {
    case 's':
        call->address = optarg;
        return EXIT_DONE;
    case 'h':
        help_print();
        *done = true;
        return EXIT_DONE;
    case 'V':
        printf("%s (qmp-proxy) %s\n", PROGRAM, VERSION);
        *done = true;
        return EXIT_DONE;
    case OPT_JSON:
        call->raw = true;
        return EXIT_DONE;
    case OPT_TIMEOUT:
        return timeout_take(call, optarg) ? EXIT_DONE
            : usage_error("--timeout needs a number of seconds above 0, not", optarg);
    case '?':
        fprintf(stderr, "Try '%s --help'.\n", PROGRAM);
        return EXIT_USAGE;
    default:
        return member_take(call, (size_t)(opt - OPT_MEMBER), optarg) ? EXIT_DONE
            : usage_error("this is not UTF-8:", members[opt - OPT_MEMBER].option);
    }
}

static enum exit_code options_read(struct call *call, int argc, char **argv, bool *done)
{
    struct option options[N_MEMBERS + 8] = { 0 };
    enum exit_code code = EXIT_DONE;
    int opt;

    options_fill(options);
    while (code == EXIT_DONE && !*done &&
           (opt = getopt_long(argc, argv, "s:hV", options, NULL)) != -1)
        code = option_take(call, opt, done);
    return code;
}

/* The words that are no options: [explain] COMMAND [NAME]. */
static enum exit_code words_read(struct call *call, int count, char **word)
{
    json_t *name;

    if (count > 0 && !strcmp(word[0], "explain")) {
        call->explain = true;
        json_object_set_new(call->arguments, "dry-run", json_true());
        count--;
        word++;
    }
    if (count == 0)
        return usage_error("a command is missing", NULL);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!strcmp(commands[i].word, word[0]))
            call->command = &commands[i];
    }
    if (!call->command)
        return usage_error("unknown command:", word[0]);
    if (call->explain && !call->command->bit)
        return usage_error("explain is for create, revert and delete, not for", word[0]);
    if (count > (call->command->naming == NAME_NONE ? 1 : 2))
        return usage_error("this is one word too many:", word[count - 1]);
    if (count < 2)
        return call->command->naming == NAME_MUST
            ? usage_error("the name of a snapshot is missing after", word[0]) : EXIT_DONE;
    call->name = word[1];
    name = json_string(call->name);
    if (!name)
        return usage_error("the name is not UTF-8", NULL);
    json_object_set_new(call->arguments, "name", name);
    return EXIT_DONE;
}

static enum exit_code call_check(struct call *call)
{
    for (size_t i = 0; i < N_MEMBERS; i++) {
        if (!(call->given & 1u << i) || (members[i].commands & call->command->bit))
            continue;
        fprintf(stderr, "%s: '%s' does not take --%s\nTry '%s --help'.\n", PROGRAM,
                call->command->word, members[i].option, PROGRAM);
        return EXIT_USAGE;
    }
    if (!call->address || !*call->address)
        call->address = getenv("QMP_SNAPSHOT_ADDRESS");
    if (!call->address || !*call->address)
        return usage_error("where does the proxy listen? Give -s ADDRESS, or set "
                           "QMP_SNAPSHOT_ADDRESS", NULL);
    if (call->command->show == show_verify)
        json_object_set_new(call->arguments, "verify", json_true());
    return EXIT_DONE;
}

static enum exit_code answer_show(const struct call *call, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error"), *value;

    if (error) {
        snapshot_print_error(stderr, PROGRAM, error);
        return EXIT_REFUSED;
    }
    value = json_object_get(answer, "return");
    if (call->raw) {
        json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
        return EXIT_DONE;
    }
    if (call->command->bit ? !json_is_object(value) : !json_is_array(value))
        return shape_error();
    return call->command->show(call, value);
}

static enum exit_code call_run(const struct call *call)
{
    struct err err = ERR_INIT;
    struct snapshot_wire *wire = snapshot_wire_open(call->address, call->timeout, &err);
    json_t *answer = wire ? snapshot_wire_command(wire, call->command->qmp,
                                                  json_incref(call->arguments), &err) : NULL;
    enum exit_code code = EXIT_CONNECTION;

    if (answer)
        code = answer_show(call, answer);
    else
        fprintf(stderr, "%s: %s\n", PROGRAM, err.desc);
    err_clear(&err);
    json_decref(answer);
    snapshot_wire_free(wire);
    return code;
}

int main(int argc, char **argv)
{
    struct call call = { .timeout = TIMEOUT_DEFAULT, .arguments = json_object() };
    bool done = false;
    enum exit_code code;

    setlocale(LC_CTYPE, "");
    code = options_read(&call, argc, argv, &done);
    if (code == EXIT_DONE && !done)
        code = words_read(&call, argc - optind, argv + optind);
    if (code == EXIT_DONE && !done)
        code = call_check(&call);
    if (code == EXIT_DONE && !done)
        code = call_run(&call);
    json_decref(call.arguments);
    if (fflush(stdout) != 0 && code == EXIT_DONE) {
        fprintf(stderr, "%s: cannot write: %s\n", PROGRAM, strerror(errno));
        code = EXIT_CONNECTION;
    }
    return (int)code;
}
