/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_drive.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "policy/state.h"
#include "proxy/operation.h"
#include "tests/sim/sim_check.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_fail.h"

/* More turns than any operation takes, its waiting included. */
#define SIM_TURNS_MAX 200000
#define SIM_STARTS_MAX 6

const char *const sim_fault_name[SIM_FAULT__COUNT] = {
    [SIM_FAULT_NONE] = "nothing",
    [SIM_FAULT_MAIN] = "command",
    [SIM_FAULT_NEXT] = "next's command",
    [SIM_FAULT_HOST] = "call",
    [SIM_FAULT_PROXY] = "the proxy is killed in turn",
    [SIM_FAULT_QEMU] = "QEMU dies in turn",
    [SIM_FAULT_SECOND] = "the second QEMU dies in turn",
    [SIM_FAULT_CANCEL] = "cancelled in turn",
};

struct drive {
    const char *execute;
    json_t *args;
    const struct sim_fault *fault;
    struct sim_outcome *outcome;
    struct sim_moment before;
    struct sim_qemu *main;      /* that was the VM when it began */
    size_t log;                 /* the commands that it had before the recovery */
    json_t *answer;
};

bool sim_bring_up(void)
{
    bool needed = false;

    for (int i = 0; i < SIM_STARTS_MAX; i++) {
        if (sim_proxy() && !sim_settle())
            continue;
        if (sim_proxy() && !sim_proxy()->stuck)
            return needed;
        needed = true;
        if (sim_proxy())
            sim_proxy_note("stuck: %s", sim_proxy()->stuck);
        if (sim_proxy())
            sim_proxy_kill();
        sim_proxy_start();
    }
    sim_fail("the proxy does not come up: %s", sim_proxy() ? sim_proxy()->stuck : sim_proxy_error());
}

/* ---- what goes wrong ---- */

static void drive_prepare(struct drive *drive)
{
    const struct sim_fault *fault = drive->fault;

    sim_qemu_no_trouble();
    sim_host_fail(fault->kind == SIM_FAULT_HOST ? fault->at : -1);
    if (fault->kind == SIM_FAULT_MAIN) {
        drive->main->trouble_at = (long)json_array_size(drive->main->log) + fault->at;
        drive->main->trouble = fault->trouble;
        drive->main->trouble_met = false;
    } else if (fault->kind == SIM_FAULT_NEXT) {
        sim_qemu_next_trouble(sim_qemu_count(), fault->at, fault->trouble);
    }
}

static struct sim_qemu *drive_second(const struct drive *drive)
{
    for (struct sim_qemu *qemu = sim_qemu_first(); qemu; qemu = qemu->next)
        if (qemu->alive && qemu != drive->main)
            return qemu;
    return NULL;
}

static void drive_cancel(struct drive *drive)
{
    operation_cancel(sim_proxy());
    drive->outcome->met = true;
}

static void drive_kill(struct drive *drive, struct sim_qemu *qemu)
{
    if (!qemu || !qemu->alive)
        return;
    sim_proxy_note("QEMU %u is killed", qemu->serial);
    sim_qemu_end(qemu, SIGKILL);
    drive->outcome->met = true;
}

/* In the turn that comes. */
static void drive_hit(struct drive *drive)
{
    const struct sim_fault *fault = drive->fault;
    struct sim_qemu *second = drive_second(drive);

    if (fault->kind == SIM_FAULT_SECOND && second && drive->outcome->second_turns == fault->at)
        drive_kill(drive, second);
    drive->outcome->second_turns += second != NULL;
    if (drive->outcome->turns != fault->at)
        return;
    if (fault->kind == SIM_FAULT_PROXY && sim_proxy()) {
        sim_proxy_kill();
        drive->log = json_array_size(drive->main->log);
        drive->main->trouble_at = fault->then ? (long)drive->log + fault->then_at : -1;
        drive->main->trouble = fault->then;
        drive->outcome->met = true;
    } else if (fault->kind == SIM_FAULT_QEMU) {
        drive_kill(drive, drive->main);
    } else if (fault->kind == SIM_FAULT_CANCEL) {
        drive_cancel(drive);
    }
}

static void drive_run(struct drive *drive)
{
    struct sim_outcome *outcome = drive->outcome;
    size_t log = json_array_size(drive->main->log);
    unsigned serial = sim_qemu_count();

    drive_prepare(drive);
    sim_send(drive->execute, drive->args);
    while (!drive->answer) {
        drive_hit(drive);
        if (!sim_proxy() || !sim_turn())
            break;
        drive->answer = sim_answer();
        if (++outcome->turns > SIM_TURNS_MAX)
            sim_fail("%s is never answered", drive->execute);
    }
    if (drive->answer && sim_proxy())
        sim_settle();
    outcome->met = outcome->met || sim_host_failed();
    outcome->calls = sim_host_fail(-1);
    outcome->commands = (long)(json_array_size(drive->main->log) - log);
    for (struct sim_qemu *qemu = sim_qemu_first(); qemu; qemu = qemu->next) {
        outcome->met = outcome->met || qemu->trouble_met;
        qemu->trouble_met = false;
        if (qemu->serial == serial)
            outcome->next_commands = (long)json_array_size(qemu->log);
    }
    outcome->stuck = sim_proxy() && sim_proxy()->stuck;
    outcome->unsynced = outcome->stuck && strncmp(sim_proxy()->stuck, "Cannot fsync", 12) == 0;
}

/* Is the guest gone with its QEMU?  One that was started to load has taken it over. */
static bool drive_has_lost(const struct drive *drive)
{
    return sim_main() != drive->main && sim_main()->cold;
}

/* The proxy that settles what one has left that was killed is killed itself. */
static void drive_kill_again(const struct drive *drive)
{
    if (drive->fault->again == 0 || drive->log == 0 || sim_proxy() || !sim_proxy_launch())
        return;
    for (long i = 0; i < drive->fault->again && sim_proxy(); i++)
        sim_turn();
    if (sim_proxy())
        sim_proxy_kill();
}

/* Whoever has ended is started again. */
static void drive_bring_up(struct drive *drive)
{
    drive_kill_again(drive);
    sim_bring_up();
    sim_qemu_no_trouble();
    drive->outcome->lost = drive_has_lost(drive);
    if (drive->log > 0)
        drive->outcome->recovery_commands = (long)(json_array_size(drive->main->log) - drive->log);
}

/* ---- the verdict ---- */

static bool drive_is(const struct drive *drive, const char *execute)
{
    return strcmp(drive->execute, execute) == 0;
}

static bool drive_runs_as_before(const struct drive *drive)
{
    return (strcmp(drive->before.status, "running") == 0) == (strcmp(sim_main()->status, "running") == 0);
}

static void drive_check_status(const struct drive *drive)
{
    if (!drive_runs_as_before(drive))
        sim_fail("the guest is %s, and was %s", sim_main()->status, drive->before.status);
}

static void drive_check_same(const struct drive *drive)
{
    if (!sim_check_disks_of(&drive->before))
        sim_fail("the disks do not hold what they did");
    if (drive->outcome->lost)
        return;
    sim_check_guest_of(&drive->before);
    drive_check_status(drive);
}

static const char *drive_target(const struct drive *drive, const char *name)
{
    const char *state = state_str(drive->args, "state");

    if (state && strcmp(state, "as-saved") != 0)
        return state;
    return state_str(state_snapshot(sim_proxy()->store->state, name), "run-state");
}

/* The VM is the snapshot. */
static void drive_check_reverted(const struct drive *drive)
{
    const char *name = state_str(drive->args, "name"), *target = drive_target(drive, name);
    bool runs = strcmp(sim_main()->status, "running") == 0;

    if (!sim_check_disks_as(&drive->before, name))
        sim_fail("the disks do not hold what %s does", name);
    if (drive->outcome->lost)
        return;
    sim_check_guest_as(&drive->before, name, target);
    if (runs != (strcmp(target, "running") == 0))
        sim_fail("the guest is %s, and should be %s", sim_main()->status, target);
}

static void drive_check_done(const struct drive *drive)
{
    const json_t *state = sim_proxy()->store->state, *deleted;
    const char *name = state_str(drive->args, "name");
    json_t *one;
    size_t i;

    if (drive_is(drive, "snapshot-revert")) {
        if (!state_str(state, "current") || strcmp(state_str(state, "current"), name) != 0)
            sim_fail("the VM does not descend from %s on record", name);
        drive_check_reverted(drive);
        return;
    }
    drive_check_same(drive);
    if (drive_is(drive, "snapshot-create") && !state_snapshot(state, name))
        sim_fail("%s was created, and is not there", name);
    deleted = json_object_get(json_object_get(drive->answer, "return"), "deleted");
    json_array_foreach((json_t *)deleted, i, one)
        if (state_snapshot(state, json_string_value(one)))
            sim_fail("%s was deleted, and is there", json_string_value(one));
}

/* Is it the snapshot's guest that goes on?  Where its memory is that of the guest before,
 * the disks and the run state tell. */
static bool drive_is_reverted(const struct drive *drive)
{
    const char *name = state_str(drive->args, "name");
    const char *current = state_str(sim_proxy()->store->state, "current");
    const json_t *loaded = sim_main()->loaded, *memory;

    if (!drive_is(drive, "snapshot-revert") || !current || strcmp(current, name) != 0)
        return false;
    memory = sim_check_memory(name);
    if (!memory || strcmp(drive_target(drive, name), "prelaunch") == 0)
        return sim_main() != drive->main && !sim_main()->given &&
               (drive->before.memory || sim_main()->memory || !sim_check_disks_of(&drive->before));
    return json_equal(json_object_get(loaded, "serial"), json_object_get(memory, "serial")) &&
           (json_integer_value(json_object_get(loaded, "serial")) != drive->before.loaded ||
            !sim_check_disks_of(&drive->before) || !drive_runs_as_before(drive));
}

/* Nobody has said how it ended. */
static void drive_check_either(const struct drive *drive)
{
    const char *name = state_str(drive->args, "name");

    if (drive->outcome->lost) {
        if (!sim_check_disks_of(&drive->before) &&
            !(drive_is(drive, "snapshot-revert") && sim_check_disks_as(&drive->before, name)))
            sim_fail("the disks hold neither what they did nor what %s does", name);
    } else if (drive_is_reverted(drive)) {
        drive_check_reverted(drive);
    } else {
        drive_check_same(drive);
    }
}

/* The operation was answered when its QEMU was lost; the recovery that follows may go either way. */
static bool drive_is_open(const struct drive *drive)
{
    enum sim_trouble trouble = drive->fault->trouble;
    bool cut = trouble == SIM_CUT_BEFORE || trouble == SIM_CUT_AFTER;

    return !drive->answer || drive->outcome->lost || drive->outcome->stuck || (cut && drive->outcome->met);
}

/* What save-as has made stays where it cannot be merged: of a paused guest, whose images QEMU has let go of. */
static void drive_check_names(const struct drive *drive)
{
    json_t *names = json_copy(drive->before.names);

    json_array_append(names, json_object_get(drive->args, "save-as"));
    if (!drive_is(drive, "snapshot-delete") && !sim_check_names(drive->before.names) &&
        !(strcmp(sim_main()->status, "postmigrate") == 0 && sim_check_names(names)))
        sim_fail("there are other snapshots than before");
    json_decref(names);
}

static void drive_judge(struct drive *drive)
{
    const json_t *error = json_object_get(drive->answer, "error");
    struct sim_outcome *outcome = drive->outcome;

    outcome->answered = drive->answer != NULL;
    outcome->done = drive->answer && !error;
    if (error)
        snprintf(outcome->reason, sizeof(outcome->reason), "%s",
                 state_str(json_object_get(error, "data"), "reason")
                     ? state_str(json_object_get(error, "data"), "reason") : "?");
    sim_proxy_note("%s: %s", drive->execute, outcome->done ? "done"
                                             : error ? state_str(error, "desc") : "no answer");
    sim_check_world();
    if (outcome->done) {
        drive_check_done(drive);
    } else if (drive_is_open(drive)) {
        drive_check_either(drive);
    } else {
        drive_check_names(drive);
        drive_check_same(drive);
    }
}

void sim_drive(const char *execute, json_t *args, const struct sim_fault *fault,
               struct sim_outcome *outcome)
{
    struct drive drive = {
        .execute = execute, .args = args, .fault = fault, .outcome = outcome, .main = sim_main(),
    };
    char *text = json_dumps(args, JSON_COMPACT);

    memset(outcome, 0, sizeof(*outcome));
    sim_proxy_note("%s %s (%s %ld %s; then %ld %s)", execute, text, sim_fault_name[fault->kind], fault->at,
                   sim_trouble_name[fault->trouble], fault->then_at, sim_trouble_name[fault->then]);
    free(text);
    sim_moment_take(&drive.before);
    drive_run(&drive);
    drive_bring_up(&drive);
    drive_judge(&drive);
    json_decref(drive.answer);
    json_decref(args);
    sim_moment_clear(&drive.before);
}
