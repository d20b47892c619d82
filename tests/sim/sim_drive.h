/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_drive: one snapshot operation with one thing that goes wrong, and the verdict on its end.
 *
 * Model: a client sends the command; meanwhile a command of the operation, a call on the host, QEMU or the
 * proxy goes wrong.  Whoever has ended is started again, as a user would, until all is at rest.  Then:
 *
 *   answered well         what was asked for is so
 *   answered with an error, or cancelled    all is as before, but for what the guest did since
 *   not answered          one of the two
 *   QEMU was lost         the disks are one of the two; the guest has to boot
 *
 * and in any case the world is what the record says (sim_check.h).
 */
#ifndef TESTS_SIM_DRIVE_H
#define TESTS_SIM_DRIVE_H

#include "tests/sim/sim_proxy.h"

enum sim_fault_kind {
    SIM_FAULT_NONE,
    SIM_FAULT_MAIN,             /* the at-th command to the QEMU that runs: trouble */
    SIM_FAULT_NEXT,             /* to the one that is started */
    SIM_FAULT_HOST,             /* the at-th call on the host */
    SIM_FAULT_PROXY,            /* the proxy is killed in the at-th turn */
    SIM_FAULT_QEMU,             /* the QEMU that runs is */
    SIM_FAULT_SECOND,           /* the other one is, in the at-th turn that it is there */
    SIM_FAULT_CANCEL,           /* the client cancels the job */
    SIM_FAULT__COUNT
};

extern const char *const sim_fault_name[SIM_FAULT__COUNT];

struct sim_fault {
    enum sim_fault_kind kind;
    long at;
    enum sim_trouble trouble;
    /* the proxy was killed: the at-th command of the recovery that follows */
    long then_at;
    enum sim_trouble then;
    long again;                 /* so many turns behind its start the next one is killed as well; 0: not */
};

struct sim_outcome {
    bool answered, done;        /* done: with a return */
    bool lost;                  /* the guest's QEMU died, and nobody has its memory */
    bool met;                   /* the fault had its turn */
    bool stuck;                 /* for a while */
    bool unsynced;              /* since an fsync of an image failed, which is not asked again */
    /* how many there were: points for faults */
    long turns, second_turns, commands, next_commands, calls, recovery_commands;
    char reason[64];            /* of an error */
};

/* args is stolen.  Fails (sim_fail()) when the end is not what it should be. */
void sim_drive(const char *execute, json_t *args, const struct sim_fault *fault,
               struct sim_outcome *outcome);

/* The proxy, and QEMU with it, are there again: started as often as needed.  True: it was needed. */
bool sim_bring_up(void);

#endif
