/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_machines: virtual machines to begin a simulation with.
 *
 * Model: disks 0, 1, 2: the first may stand on an image that is nobody's to write; as drives (d0 ...) or as
 * -blockdev nodes (q0 ...) of devices (vd0 ...).
 */
#ifndef TESTS_SIM_MACHINES_H
#define TESTS_SIM_MACHINES_H

#include <stdbool.h>

struct sim_machine {
    unsigned disks;             /* 1 to 3 */
    bool nodes;                 /* -blockdev instead of -drive */
    unsigned raw;               /* a bit for each disk: its image is raw */
    bool gold;                  /* a qcow2 image of the first disk stands on another one */
    int version;                /* 7 or 10 */
};

/* Makes the host, the images, starts the proxy with QEMU, and sets up sim_check.h. */
void sim_machine_begin(const struct sim_machine *machine);
void sim_machine_end(void);

#endif
