/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_machines.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_check.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_proxy.h"

struct words {
    char text[24][400];
    char *argv[25];
    size_t n;
};

static void words_add(struct words *words, const char *word)
{
    snprintf(words->text[words->n], sizeof(words->text[0]), "%s", word);
    words->argv[words->n] = words->text[words->n];
    words->argv[++words->n] = NULL;
}

/* What the disk began with stands in its blocks. */
static void machine_image(const struct sim_machine *machine, unsigned disk, char *path, size_t size)
{
    bool raw = machine->raw & (1u << disk);
    char gold[200];

    snprintf(gold, sizeof(gold), "%s/gold.raw", sim_host_path());
    snprintf(path, size, "%s/disk%u.%s", sim_host_path(), disk, raw ? "raw" : "qcow2");
    if (disk == 0 && !raw && machine->gold) {
        sim_image_make(gold, "raw", NULL, NULL);
        for (unsigned i = 0; i < SIM_BLOCKS; i++)
            sim_image_write(sim_image_find(gold), i, 10 + i);
        sim_check_keep(gold);
        sim_image_make(path, "qcow2", gold, "raw");
    } else {
        sim_image_make(path, raw ? "raw" : "qcow2", NULL, NULL);
        sim_image_write(sim_image_find(path), 1, 20 + disk);
    }
    sim_check_keep(path);
}

static void machine_disk(const struct sim_machine *machine, unsigned disk, struct words *words)
{
    const char *format = machine->raw & (1u << disk) ? "raw" : "qcow2";
    bool virtio = disk != 1;
    char path[200], word[400];

    machine_image(machine, disk, path, sizeof(path));
    if (machine->nodes) {
        snprintf(word, sizeof(word), "driver=%s,node-name=q%u,file.driver=file,file.filename=%s", format,
                 disk, path);
        words_add(words, "-blockdev");
        words_add(words, word);
        snprintf(word, sizeof(word), "%s,drive=q%u,id=vd%u", virtio ? "virtio-blk-pci" : "ide-hd", disk,
                 disk);
        words_add(words, "-device");
    } else {
        snprintf(word, sizeof(word), "file=%s,if=%s,id=d%u,format=%s", path, virtio ? "virtio" : "ide",
                 disk, format);
        words_add(words, "-drive");
    }
    words_add(words, word);
}

void sim_machine_begin(const struct sim_machine *machine)
{
    struct words words = { .n = 0 };

    sim_host_begin();
    sim_check_begin();
    words_add(&words, "qemu-system-x86_64");
    words_add(&words, "-m");
    words_add(&words, "64");
    for (unsigned i = 0; i < machine->disks; i++)
        machine_disk(machine, i, &words);
    sim_qemu_next_version(machine->version);
    sim_begin(words.argv);
    if (!sim_proxy_start())
        sim_fail("it does not start: %s", sim_proxy_error());
    sim_check_world();
}

void sim_machine_end(void)
{
    sim_end();
    sim_check_end();
    sim_host_end();
    sim_proxy_clear_notes();
}
