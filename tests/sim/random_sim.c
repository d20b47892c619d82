/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * random_sim: machines, trees of snapshots and trouble, drawn from seeds.
 *
 * Each seed is a machine and up to twelve operations, in the proxy itself before simulated QEMUs: creates,
 * reverts and deletes in all their forms, most of them with something that goes wrong (sim_drive.h), and
 * between them what clients do: stop and cont, snapshots and block jobs of their own, devices, settings; the
 * proxy and QEMU are ended and started.  After each of them everything is looked at (sim_check.h).
 *
 * SEED (default 1): the first; COUNT (default 300; a few where MODEL_MAX is set, for a slow run): how many.
 * A seed does the same whenever it runs.  VERBOSE=1 says what is done, with the proxy's own log.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "proxy/log.h"
#include "tests/sim/sim_check.h"
#include "tests/sim/sim_drive.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_machines.h"

#define OPERATIONS_MAX 12

static struct {
    unsigned long long seed, state;
    unsigned long seeds, operations, done, refused, faults, kinds[SIM_FAULT__COUNT], client, names;
} run;

/* ---- numbers ---- */

static unsigned long long next_random(void)
{
    unsigned long long z = (run.state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(next_random() % n);
}

/* One of n words; "" means none. */
static const char *pick(const char *const *words, unsigned n)
{
    const char *word = words[below(n)];

    return word[0] ? word : NULL;
}

#define PICK(...) pick((const char *const[]){ __VA_ARGS__ }, \
                       sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* ---- what goes wrong ---- */

static struct sim_fault draw_fault(bool revert)
{
    static const unsigned turns[] = { 30, 120, 350 };
    struct sim_fault fault = { .kind = SIM_FAULT_NONE };

    if (below(4) == 0)
        return fault;
    fault.kind = 1 + below(SIM_FAULT__COUNT - 1);
    if (!revert && (fault.kind == SIM_FAULT_NEXT || fault.kind == SIM_FAULT_SECOND))
        fault.kind = SIM_FAULT_MAIN;
    else if (revert && below(3) == 0)
        fault.kind = below(2) ? SIM_FAULT_NEXT : SIM_FAULT_SECOND;
    switch (fault.kind) {
    case SIM_FAULT_MAIN:
    case SIM_FAULT_NEXT:
        fault.at = below(fault.kind == SIM_FAULT_MAIN ? 12 : 4);
        fault.trouble = 1 + below(SIM_TROUBLE__COUNT - 1);
        break;
    case SIM_FAULT_SECOND:
        fault.at = below(50);
        break;
    case SIM_FAULT_HOST:
        fault.at = below(24);
        break;
    default:
        fault.at = below(turns[below(3)]);
    }
    if (fault.kind == SIM_FAULT_PROXY && below(2)) {
        fault.then = 1 + below(SIM_TROUBLE__COUNT - 1);
        fault.then_at = below(6);
    }
    if (fault.kind == SIM_FAULT_PROXY && below(3) == 0)
        fault.again = 1 + below(120);
    return fault;
}

/* ---- snapshots ---- */

/* borrowed: the name of a snapshot on record; NULL: there is none. */
static const char *draw_name(void)
{
    const json_t *list = json_object_get(sim_proxy()->store->state, "snapshots");

    return json_array_size(list) == 0
               ? NULL : state_str(json_array_get(list, below((unsigned)json_array_size(list))), "name");
}

static void operate(const char *execute, json_t *args)
{
    struct sim_fault fault = draw_fault(strcmp(execute, "snapshot-revert") == 0);
    struct sim_outcome outcome;

    if (fault.kind == SIM_FAULT_HOST || fault.trouble || fault.then)
        sim_check_allow_leftovers();
    run.operations++;
    sim_drive(execute, args, &fault, &outcome);
    run.done += outcome.done;
    run.refused += outcome.answered && !outcome.done && !outcome.met;
    run.faults += outcome.met;
    run.kinds[fault.kind] += outcome.met;
}

static void do_create(void)
{
    const char *memory = PICK("", "", "vmstate", "none"), *disk = NULL;
    json_t *args = json_pack("{s:o, s:s*}", "name", json_sprintf("s%lu", ++run.names), "memory", memory);

    /* Memory goes on only with all disks that it knows. */
    if (memory && strcmp(memory, "none") == 0 && below(4) == 0)
        disk = sim_main()->disks[0].device[0] ? "d0" : "vd0";
    if (disk)
        json_object_set_new(args, "disks", json_pack("[s]", disk));
    operate("snapshot-create", args);
}

static void do_revert(void)
{
    const char *name = draw_name();
    json_t *args;

    if (!name)
        return;
    args = json_pack("{s:s, s:s*, s:s*}", "name", name, "method",
                     PICK("", "", "", "respawn", "replace", "in-place"), "state",
                     PICK("", "", "", "running", "paused", "prelaunch"));
    if (below(4) == 0)
        json_object_set_new(args, "save-as", json_sprintf("s%lu", ++run.names));
    else
        json_object_set_new(args, "discard", json_true());
    operate("snapshot-revert", args);
}

static void do_delete(void)
{
    const char *name = draw_name();
    json_t *args;

    if (!name)
        return;
    args = json_pack("{s:s, s:s*, s:s*}", "name", name, "children", PICK("", "", "", "include", "only"),
                     "direction", PICK("", "", "commit", "stream"));
    if (below(10) == 0)
        json_object_set_new(args, "metadata-only", json_true());
    operate("snapshot-delete", args);
}

/* ---- what clients do ---- */

/* args is stolen.  False: it was refused, or the proxy has ended. */
static bool ask(const char *execute, json_t *args)
{
    char *text = json_dumps(args ? args : json_null(), JSON_COMPACT | JSON_ENCODE_ANY);
    json_t *answer = sim_ask(execute, args);
    bool ok = json_object_get(answer, "return") != NULL;

    sim_proxy_note("client: %s %s: %s", execute, text, ok ? "done" : "refused");
    free(text);
    json_decref(args);
    json_decref(answer);
    sim_bring_up();
    run.client++;
    return ok;
}

static const struct sim_disk *draw_disk(void)
{
    return &sim_main()->disks[below((unsigned)sim_main()->n_disks)];
}

/* A snapshot of a client's own, which the proxy observes. */
static void client_snapshot(void)
{
    const struct sim_disk *disk = draw_disk();
    json_t *file = json_sprintf("%s/own%lu.qcow2", sim_host_path(), ++run.names);
    json_t *args = json_pack("{s:O, s:s}", "snapshot-file", file, "format", "qcow2");

    json_object_set_new(args, disk->device[0] ? "device" : "node-name",
                        json_string(disk->device[0] ? disk->device : sim_node_image(disk->root)->name));
    if (below(2))
        json_object_set_new(args, "snapshot-node-name", json_sprintf("own%lu", run.names));
    sim_check_keep(json_string_value(file));
    ask("blockdev-snapshot-sync", args);
    json_decref(file);
}

static void client_device(void)
{
    if (json_object_get(sim_main()->devices, "rng0"))
        ask("device_del", json_pack("{s:s}", "id", "rng0"));
    else
        ask("device_add", json_pack("{s:s, s:s}", "driver", "virtio-rng-pci", "id", "rng0"));
}

/* A block job of a client's own takes layers out of a chain, whatever the record says of them. */
static void client_job(void)
{
    const struct sim_disk *disk = draw_disk();
    const struct sim_node *top = sim_node_image(disk->root), *base = sim_node_image(top->backing);
    bool commit = below(2);
    json_t *args = json_pack("{s:s, s:s}", "job-id", "own", "device",
                             commit && disk->device[0] ? disk->device : top->name);

    /* Whoever writes into what is below the command line's image has to write another command line. */
    if (!base || (commit && strstr(base->path, "/gold."))) {
        json_decref(args);
        return;
    }
    if (commit)
        json_object_set_new(args, "base-node", json_string(base->name));
    /* Nodes of the command line that are in no chain any more stay, as QEMU has them. */
    sim_check_allow_leftovers();
    if (!ask(commit ? "block-commit" : "block-stream", args))
        return;
    for (int i = 0; i < 5; i++)
        ask("query-jobs", NULL);
    if (commit)
        ask("job-complete", json_pack("{s:s}", "id", "own"));
}

/* The guest is let run on. */
static void client_wait(void)
{
    for (unsigned i = below(6); i > 0; i--)
        ask("query-status", NULL);
}

static void do_client(void)
{
    switch (below(8)) {
    case 0:
        ask("stop", NULL);
        break;
    case 1:
    case 2:
        ask("cont", NULL);
        break;
    case 3:
        client_snapshot();
        break;
    case 4:
        client_device();
        break;
    case 5:
        client_job();
        break;
    default:
        client_wait();
    }
    sim_check_world();
}

static void do_restart(void)
{
    if (below(2)) {
        sim_proxy_kill();
    } else {
        sim_qemu_end(sim_main(), 9);
        sim_proxy_note("QEMU is killed");
    }
    sim_bring_up();
    sim_check_world();
}

/* ---- seeds ---- */

static void run_operations(void)
{
    unsigned n = 1 + below(OPERATIONS_MAX);

    for (unsigned i = 0; i < n; i++) {
        unsigned what = below(20);

        if (what < 6)
            do_create();
        else if (what < 11)
            do_revert();
        else if (what < 16)
            do_delete();
        else if (what < 19)
            do_client();
        else
            do_restart();
    }
}

static void run_seed(unsigned long long seed)
{
    struct sim_machine machine;

    run.seed = run.state = seed;
    run.names = 0;
    machine = (struct sim_machine){
        .disks = 1 + below(3), .nodes = below(3) == 0, .raw = below(8), .gold = below(2),
        .version = below(3) ? 7 : 10,
    };
    sim_machine_begin(&machine);
    run_operations();
    sim_machine_end();
    run.seeds++;
}

static void run_failed(const char *what)
{
    printf("not ok 1 - seed %llu: %s\n# again: SEED=%llu COUNT=1 VERBOSE=1\n", run.seed, what, run.seed);
    sim_proxy_print_notes();
    fflush(stdout);
    sim_machine_end();
    exit(1);
}

static unsigned long long number(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    unsigned long long first = number("SEED", 1), count = number("COUNT", getenv("MODEL_MAX") ? 20 : 300);

    setvbuf(stdout, NULL, _IOLBF, 0);
    sim_fail_hook = run_failed;
    log_set_level(getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    printf("1..1\n");
    for (unsigned long long i = 0; i < count; i++) {
        run_seed(first + i);
        if (run.seeds % 1000 == 0)
            printf("# %lu seeds, %lu operations, %lu faults\n", run.seeds, run.operations, run.faults);
    }
    printf("ok 1 - %lu seeds: %lu operations, %lu done, %lu refused, %lu commands of clients\n", run.seeds,
           run.operations, run.done, run.refused, run.client);
    printf("# %lu faults:", run.faults);
    for (int i = 1; i < SIM_FAULT__COUNT; i++)
        printf(" %lu %s%s", run.kinds[i], sim_fault_name[i], i + 1 < SIM_FAULT__COUNT ? "," : "\n");
    return 0;
}
