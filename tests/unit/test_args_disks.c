/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args_disks: which disks a command line has, and which command lines snapshots are refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args_words.h"
#include "policy/args_disks.h"

/* One word for each disk: key=path:format[:ro][:cd][:tmp][:discard][:loose], "-" for nothing. */
static char *describe(const struct args_disks *disks)
{
    char *out = args_util_dup("");

    for (size_t i = 0; i < disks->n; i++) {
        const struct args_disk *d = &disks->v[i];
        char *more = args_util_format("%s%s%s=%s:%s%s%s%s%s%s", out, i ? " " : "", d->key,
                                      d->path ? d->path : "-", d->format ? d->format : "-",
                                      d->read_only ? ":ro" : "", d->cdrom ? ":cd" : "",
                                      d->snapshot ? ":tmp" : "",
                                      d->discard ? ":discard" : "", d->attached ? "" : ":loose");

        free(out);
        out = more;
    }
    return out;
}

#define FILE_NODE "{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"/a\"}"
#define RAW_NODE "{\"driver\":\"raw\",\"node-name\":\"n\",\"file\":\"f\"}"

static const char *const disk_rows[][2] = {
    { "-m 1", "" },
    { "a.img", "drive:ide0-hd0=a.img:-" },
    { "-hda a -hdb b -cdrom c -hdd d",
      "drive:ide0-hd0=a:- drive:ide0-hd1=b:- drive:ide1-cd0=c:-:ro:cd drive:ide1-hd1=d:-" },
    { "-M q35 -hda a -hdb b -cdrom c",
      "drive:ide0-hd0=a:- drive:ide1-hd0=b:- drive:ide2-cd0=c:-:ro:cd" },
    { "-drive file=a,format=raw -drive file=b,driver=qcow2 -machine pc-q35-7.2,accel=tcg",
      "drive:ide0-hd0=a:raw drive:ide1-hd0=b:qcow2" },
    { "-drive file=b -drive file=a,index=0 -drive file=c",
      "drive:ide0-hd0=b:- drive:ide0-hd0=a:- drive:ide0-hd1=c:-" },
    { "-drive if=virtio,file=a,index=3 -drive if=virtio,file=b -drive if=virtio,file=c",
      "drive:virtio3=a:- drive:virtio0=b:- drive:virtio1=c:-" },
    { "-drive if=none,file=a,id=x -drive if=none,file=b", "drive:x=a:- drive:none1=b:-" },
    { "-pflash a -pflash b -fdb c -sd d", "drive:pflash0=a:- drive:pflash1=b:- drive:floppy1=c:- "
      "drive:sd0=d:-" },
    { "-drive if=scsi,index=8,file=a -drive if=scsi,bus=1,unit=2,media=cdrom,file=b",
      "drive:scsi1-hd1=a:- drive:scsi1-cd2=b:-:ro:cd" },
    { "-M microvm -drive file=a -drive file=b,if=virtio", "drive:none00=a:- drive:virtio0=b:-" },
    { "-M none -drive file=a", "drive:none0=a:-" },
    { "-drive file=a,discard=on -drive file=b,discard=ignore -blockdev raw,node-name=n,discard=unmap,"
      "file.driver=file,file.filename=/a -device ide-hd,drive=n",
      "drive:ide0-hd0=a:-:discard drive:ide0-hd1=b:- node:n=/a:raw:discard" },
    { "-drive if=ide,media=cdrom", "drive:ide0-cd0=-:-:ro:cd" },
    { "-drive file=a,,b,read-only=on", "drive:ide0-hd0=a,b:-:ro" },
    { "-drive file=file:a,readonly=on -drive file=nbd://h/x -drive file=json:{}",
      "drive:ide0-hd0=a:-:ro drive:ide0-hd1=-:- drive:ide1-hd0=-:-" },
    { "-drive driver=raw,file.driver=file,file.filename=/a:b", "drive:ide0-hd0=/a:b:raw" },
    { "-drive file=json:{\"driver\":\"qcow2\",,\"file\":{\"driver\":\"file\",,\"filename\":\"/a\"}},"
      "id=x", "drive:x=/a:qcow2" },
    { "-drive file=json:{\"driver\":\"raw\",,\"file.filename\":\"/a\"},format=qcow2,read-only=on",
      "drive:ide0-hd0=/a:qcow2:ro" },
    { "-snapshot -hda a -drive file=b,snapshot=off", "drive:ide0-hd0=a:-:tmp drive:ide0-hd1=b:-" },
    { "-blockdev driver=raw,node-name=n,file.driver=file,file.filename=/a -device nvme,drive=n",
      "node:n=/a:raw" },
    { "-blockdev " FILE_NODE " -blockdev " RAW_NODE, "node:n=/a:raw:loose" },
    { "-blockdev " FILE_NODE " -blockdev " RAW_NODE " -machine q35,pflash0=n", "node:n=/a:raw" },
    { "-blockdev " FILE_NODE " -device {\"driver\":\"ide-hd\",\"drive\":\"f\"}", "node:f=/a:file" },
    { "-blockdev qcow2,node-name=n,file.driver=file,file.filename=/a,read-only=on "
      "-blockdev throttle,node-name=t,throttle-group=g,file=n -device ide-hd,drive=t",
      "node:n=/a:qcow2:ro" },
    { "-blockdev " FILE_NODE " -blockdev " RAW_NODE " -blockdev driver=qcow2,node-name=o,"
      "file.driver=file,file.filename=/o,backing=n -device ide-hd,drive=o", "node:o=/o:qcow2" },
    { "-blockdev raw,node-name=n,file.driver=nbd,file.path=/s -device ide-hd,drive=n",
      "node:n=-:raw" },
};

static void disks_are_found_by_qemus_rules(void **state)
{
    for (size_t i = 0; i < sizeof(disk_rows) / sizeof(disk_rows[0]); i++) {
        struct args_disks disks = ARGS_DISKS_INIT;
        struct err err = ERR_INIT;
        struct args *args = words_parse(disk_rows[i][0], &err);
        char *text;

        assert_non_null(args);
        assert_true(args_disks_find(args, &disks, &err));
        text = describe(&disks);
        assert_string_equal(text, disk_rows[i][1]);
        free(text);
        args_disks_clear(&disks);
        args_free(args);
    }
    (void)state;
}

struct check_row {
    const char *line;
    const char *reason;     /* NULL: accepted */
    const char *says;       /* a part of the sentence */
};

static const struct check_row check_rows[] = {
    { "-M q35 -m 1G -hda a -nographic", NULL, NULL },
    { "-drive file=a,format=qcow2,cache=none,aio=native,discard=unmap,throttling.iops-total=5",
      NULL, NULL },
    { "-drive file=https://h/x,media=cdrom,format=raw -hda a", NULL, NULL },
    { "-drive if=ide,id=empty", NULL, NULL },
    { "-global ide-hd.x=y -set device.d.y=1 -icount shift=1 -run-with user=me", NULL, NULL },
    { "-frobnicate x", "unknown-argument", "-frobnicate" },
    { "-snapshot -hda a", "unsupported-argument", "-snapshot" },
    { "-drive file=a,snapshot=on", "unsupported-argument", "drive:ide0-hd0" },
    { "-readconfig /c", "unsupported-argument", "-readconfig" },
    { "-incoming tcp::1", "unsupported-argument", "-incoming" },
    { "-loadvm x", "unsupported-argument", "-loadvm" },
    { "-run-with chroot=/x", "unsupported-argument", "-run-with" },
    { "-icount shift=1,rr=record,rrfile=x", "unsupported-argument", "-icount" },
    { "-set drive.d.file=x", "unsupported-argument", "-set" },
    { "-global virtio-blk-pci.drive=n", "unsupported-argument", "-global" },
    { "-drive file=nbd:h:1", "unsupported-disk", "local file" },
    { "-drive file=json:{}", "unsupported-disk", "local file" },
    { "-drive file=json:{{", "unsupported-argument", "JSON" },
    { "-drive file=json:{\"driver\":\"nbd\"}", "unsupported-disk", "local file" },
    { "-drive file=/dev/fdset/3,format=raw", "unsupported-disk", "local file" },
    { "-drive file=a,format=raw,offset=512", "unsupported-disk", "'offset'" },
    { "-drive file=a,format=qcow2,backing.file.filename=b", "unsupported-disk", "'backing" },
    { "-drive driver=null-co,size=1M", "unsupported-disk", "local file" },
    { "-drive file=a,driver=throttle", "unsupported-disk", "no image format" },
    { "-drive file=a,format=qcow2,encrypt.key-secret=s", "unsupported-disk", "'encrypt" },
    { "-hda a -hdb a", "unsupported-disk", "drive:ide0-hd1" },
    { "-blockdev " FILE_NODE " -device ide-hd,drive=f", "unsupported-disk", "driver=raw" },
    { "-blockdev qcow2,node-name=n,file.driver=file,file.filename=/a,data-file=d",
      "unsupported-disk", "'data-file'" },
    { "-blockdev raw,node-name=n,file.driver=nbd,file.path=/s", "unsupported-disk", "local file" },
    { "-blockdev throttle,node-name=t,file.driver=qcow2,file.file=f -device ide-hd,drive=t",
      "unsupported-disk", "'t'" },
    { "-blockdev {'driver':'raw'}", "unsupported-argument", "JSON" },
};

static void impossible_snapshots_are_refused_beforehand(void **state)
{
    for (size_t i = 0; i < sizeof(check_rows) / sizeof(check_rows[0]); i++) {
        const struct check_row *row = &check_rows[i];
        struct err err = ERR_INIT;
        struct args *args = words_parse(row->line, &err);
        bool ok = args_check_snapshots(args, &err);

        if (ok != !row->reason)
            fail_msg("%s: %s", row->line, err.desc);
        if (row->reason) {
            assert_string_equal(err.reason, row->reason);
            if (!strstr(err.desc, row->says))
                fail_msg("%s: %s", row->line, err.desc);
        }
        err_clear(&err);
        args_free(args);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_are_found_by_qemus_rules),
        cmocka_unit_test(impossible_snapshots_are_refused_beforehand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
