/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every operation, by every method, with each of its commands gone wrong in each way, each call on the host
 * refused, and the proxy, QEMU and the second QEMU killed in each turn: the end that is claimed is the world.
 *
 * FULL=1 takes every turn, command and call (make check-long); otherwise every STRIDE-th (default 4; 40 where
 * MODEL_MAX is set, for a slow run), beginning with another one each time.  ONLY=word: the scenes with that
 * word in their names.  STOP=1: only up to the first failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/log.h"
#include "tests/sim/sim_check.h"
#include "tests/sim/sim_drive.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_machines.h"
#include "tests/unit/json_text.h"

/* Turns of which one is taken, unless all are. */
#define SWEEP_TURNS 12
/* Of an operation, at whose ends the proxy is killed to see the recovery go wrong. */
#define SWEEP_PARTS 8

/* What is there before, commands of a client in their order, and the operation. */
static const struct scene {
    const char *name;
    struct sim_machine machine;
    const char *before[6][2];
    const char *execute, *args;
    const char *method;         /* that it has to be done by; NULL: none */
} scenes[] = {
    { "create", { .disks = 2, .gold = true, .raw = 2, .version = 7 }, { { NULL } },
      "snapshot-create", "{'name': 'n'}", NULL },
    { "create without memory", { .disks = 2, .version = 7 }, { { NULL } },
      "snapshot-create", "{'name': 'n', 'memory': 'none'}", NULL },
    { "create of a paused guest", { .disks = 1, .version = 10 }, { { "stop", NULL } },
      "snapshot-create", "{'name': 'n'}", NULL },
    { "create with a vmstate", { .disks = 2, .nodes = true, .version = 7 }, { { NULL } },
      "snapshot-create", "{'name': 'n', 'memory': 'vmstate'}", NULL },
    { "respawn", { .disks = 2, .gold = true, .version = 7 },
      { { "snapshot-create", "{'name': 's1'}" }, { "snapshot-create", "{'name': 's2'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true}", "respawn" },
    { "respawn on 10", { .disks = 2, .nodes = true, .version = 10 },
      { { "snapshot-create", "{'name': 's1'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true, 'state': 'paused'}", "respawn" },
    { "respawn without memory", { .disks = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'none'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true}", "respawn" },
    { "respawn from a vmstate", { .disks = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'vmstate'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true, 'method': 'respawn'}", "respawn" },
    { "in place", { .disks = 2, .raw = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'vmstate'}" },
        { "snapshot-create", "{'name': 's2', 'memory': 'vmstate'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true}", "in-place" },
    { "replace", { .disks = 2, .gold = true, .version = 7 }, { { "snapshot-create", "{'name': 's1'}" } },
      "snapshot-revert", "{'name': 's1', 'discard': true, 'method': 'replace'}", "replace" },
    { "save-as", { .disks = 1, .version = 7 }, { { "snapshot-create", "{'name': 's1'}" } },
      "snapshot-revert", "{'name': 's1', 'save-as': 'n'}", "respawn" },
    { "save-as in place", { .disks = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'vmstate'}" } },
      "snapshot-revert", "{'name': 's1', 'save-as': 'n'}", "in-place" },
    { "delete, commit of what is active", { .disks = 2, .gold = true, .version = 7 },
      { { "snapshot-create", "{'name': 's1'}" } }, "snapshot-delete", "{'name': 's1'}", NULL },
    { "delete, commit below", { .disks = 2, .nodes = true, .version = 7 },
      { { "snapshot-create", "{'name': 's1'}" }, { "snapshot-create", "{'name': 's2'}" } },
      "snapshot-delete", "{'name': 's1', 'direction': 'commit'}", NULL },
    { "delete, stream", { .disks = 2, .version = 7 },
      { { "snapshot-create", "{'name': 's1'}" }, { "snapshot-create", "{'name': 's2'}" } },
      "snapshot-delete", "{'name': 's2', 'direction': 'stream'}", NULL },
    { "delete of a side branch", { .disks = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'none'}" },
        { "snapshot-create", "{'name': 's2', 'memory': 'none'}" },
        { "snapshot-create", "{'name': 's3', 'memory': 'none'}" },
        { "snapshot-revert", "{'name': 's1', 'discard': true}" } },
      "snapshot-delete", "{'name': 's2'}", NULL },
    { "delete of a branch point", { .disks = 1, .version = 7 },
      { { "snapshot-create", "{'name': 's1', 'memory': 'none'}" },
        { "snapshot-create", "{'name': 's2', 'memory': 'none'}" },
        { "snapshot-revert", "{'name': 's1', 'discard': true}" },
        { "snapshot-create", "{'name': 's3', 'memory': 'none'}" },
        { "snapshot-delete", "{'name': 's1'}" } },
      "snapshot-delete", "{'name': 's3'}", NULL },
    { "delete of a subtree", { .disks = 2, .version = 7 },
      { { "snapshot-create", "{'name': 's1'}" }, { "snapshot-create", "{'name': 's2'}" },
        { "snapshot-create", "{'name': 's3'}" }, { "snapshot-revert", "{'name': 's1', 'discard': true}" } },
      "snapshot-delete", "{'name': 's2', 'children': 'include'}", NULL },
};

static struct {
    const struct scene *scene;
    struct sim_fault fault;
    unsigned long runs, met, points;
    size_t failed;
    jmp_buf back;
} sweep;

/* The client lets the guest run between. */
static void scene_before(const struct scene *scene)
{
    for (size_t i = 0; i < 6 && scene->before[i][0]; i++) {
        json_t *args = scene->before[i][1] ? json_text(scene->before[i][1]) : NULL;
        json_t *answer = sim_ask(scene->before[i][0], args);

        if (!json_object_get(answer, "return"))
            sim_fail("%s %s was refused", scene->before[i][0], scene->before[i][1]);
        json_decref(answer);
        json_decref(args);
        for (int k = 0; k < 6; k++)
            json_decref(sim_ask("query-status", NULL));
        sim_settle();
    }
    sim_check_world();
}

static void scene_run(const struct scene *scene, const struct sim_fault *fault, struct sim_outcome *outcome)
{
    sweep.fault = *fault;
    sweep.runs++;
    sim_machine_begin(&scene->machine);
    scene_before(scene);
    /* A step that clears up, and was kept from it, leaves what it was to clear. */
    if (fault->kind == SIM_FAULT_HOST || fault->trouble || fault->then)
        sim_check_allow_leftovers();
    sim_drive(scene->execute, json_text(scene->args), fault, outcome);
    /* That QEMU goes on and has not had a command is no end that can be told before a restart looks. */
    if (outcome->stuck && fault->trouble != SIM_LOSE && !fault->then && !outcome->unsynced)
        sim_fail("it is stuck");
    /* What was left does not keep the next one from its work. */
    sim_drive("snapshot-create", json_text("{'name': 'behind', 'memory': 'none'}"),
              &(struct sim_fault){ .kind = SIM_FAULT_NONE }, &(struct sim_outcome){ .turns = 0 });
    sim_machine_end();
    sweep.met += outcome->met;
}

static void scene_points(const struct scene *scene, enum sim_fault_kind kind, enum sim_trouble trouble,
                         long n, long stride)
{
    struct sim_outcome outcome;

    for (long at = sweep.points++ % (unsigned long)stride; at < n; at += stride)
        scene_run(scene, &(struct sim_fault){ .kind = kind, .at = at, .trouble = trouble }, &outcome);
}

/* The proxy is killed on the way, and the recovery has trouble of its own. */
static void scene_recovery(const struct scene *scene, long turns, long stride)
{
    for (int part = 1; part < SWEEP_PARTS; part++) {
        struct sim_fault fault = { .kind = SIM_FAULT_PROXY, .at = turns * part / SWEEP_PARTS };
        struct sim_outcome whole, outcome;

        scene_run(scene, &fault, &whole);
        for (fault.again = 10; fault.again < 130; fault.again += stride == 1 ? 10 : 60)
            scene_run(scene, &fault, &outcome);
        fault.again = 0;
        for (int trouble = 1; trouble < SIM_TROUBLE__COUNT; trouble++) {
            fault.then = (enum sim_trouble)trouble;
            for (fault.then_at = (long)(sweep.points++ % (unsigned long)stride);
                 fault.then_at < whole.recovery_commands; fault.then_at += stride)
                scene_run(scene, &fault, &outcome);
        }
    }
}

static void scene_sweep(const struct scene *scene, long stride)
{
    long turns = stride == 1 ? 1 : stride * SWEEP_TURNS;
    struct sim_outcome whole;

    scene_run(scene, &(struct sim_fault){ .kind = SIM_FAULT_NONE }, &whole);
    if (!whole.done)
        sim_fail("it is not done: %s", whole.reason);
    for (int trouble = 1; trouble < SIM_TROUBLE__COUNT; trouble++) {
        scene_points(scene, SIM_FAULT_MAIN, (enum sim_trouble)trouble, whole.commands, stride);
        scene_points(scene, SIM_FAULT_NEXT, (enum sim_trouble)trouble, whole.next_commands, stride);
    }
    scene_points(scene, SIM_FAULT_HOST, SIM_FINE, whole.calls, stride);
    scene_points(scene, SIM_FAULT_PROXY, SIM_FINE, whole.turns, turns);
    scene_points(scene, SIM_FAULT_QEMU, SIM_FINE, whole.turns, turns);
    scene_points(scene, SIM_FAULT_SECOND, SIM_FINE, whole.second_turns, turns);
    scene_points(scene, SIM_FAULT_CANCEL, SIM_FINE, whole.turns, turns);
    scene_recovery(scene, whole.turns, stride == 1 ? 1 : stride * SWEEP_PARTS);
}

static void sweep_failed(const char *what)
{
    printf("not ok %zu - %s: %s\n", (size_t)(sweep.scene - scenes) + 1, sweep.scene->name, what);
    printf("# with %s %ld %s, then command %ld %s; again %ld\n", sim_fault_name[sweep.fault.kind], sweep.fault.at,
           sim_trouble_name[sweep.fault.trouble], sweep.fault.then_at,
           sim_trouble_name[sweep.fault.then], sweep.fault.again);
    sim_proxy_print_notes();
    sim_machine_end();
    if (getenv("STOP"))
        exit(1);
    longjmp(sweep.back, 1);
}

int main(void)
{
    size_t n = sizeof(scenes) / sizeof(scenes[0]);
    const char *only = getenv("ONLY"), *text = getenv("STRIDE");
    long stride = getenv("FULL") ? 1 : text ? atol(text) : getenv("MODEL_MAX") ? 40 : 4;

    setvbuf(stdout, NULL, _IOLBF, 0);
    sim_fail_hook = sweep_failed;
    log_set_level(getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    printf("1..%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        sweep.scene = &scenes[i];
        if (only && !strstr(scenes[i].name, only)) {
            printf("ok %zu - %s # SKIP by ONLY\n", i + 1, scenes[i].name);
            continue;
        }
        sweep.runs = sweep.met = 0;
        if (setjmp(sweep.back)) {
            sweep.failed++;
            continue;
        }
        scene_sweep(&scenes[i], stride);
        printf("ok %zu - %s: %lu points, %lu met\n", i + 1, scenes[i].name, sweep.runs, sweep.met);
    }
    return sweep.failed > 0;
}
