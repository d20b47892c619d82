/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args_rewrite: the command line of the next process, line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "args_words.h"
#include "policy/args_rewrite.h"

struct row {
    const char *line;       /* the user's */
    const char *key;        /* the disk that moves onto three layers; NULL: none */
    const char *bottom;     /* node-name of the bottom layer, or NULL */
    const char *out;        /* the new line; NULL: refused */
    const char *late;       /* the late commands as JSON with ' for "; or the reason */
};

/* New layers are /t,x (active, node T) and /m (node M) over /a. */
static bool run_row(const struct row *row, bool late, char **out, json_t **commands,
                    struct err *err)
{
    struct args *args = words_parse(row->line, err);
    const struct layer_arg layers[] = {
        { "/t,x", "qcow2", "T" }, { "/m", "qcow2", "M" }, { "/a", "raw", row->bottom },
    };
    const struct disk_rewrite disk = { row->key, layers, 3, false };
    const struct args_rewrite rw = { .disks = &disk, .n_disks = row->key ? 1 : 0, .late = late,
                                     .late_prefix = "/late/late" };
    char **argv;
    bool ok;

    assert_non_null(args);
    ok = args_rewrite(args, &rw, &argv, commands, err);
    if (ok) {
        *out = words_join(argv);
        args_strv_free(argv);
    }
    args_free(args);
    return ok;
}

static void assert_row(const struct row *row, bool late)
{
    struct err err = ERR_INIT;
    json_t *commands = NULL;
    char *out = NULL;
    bool ok = run_row(row, late, &out, &commands, &err);

    if (ok != (row->out != NULL))
        fail_msg("%s: %s", row->line, ok ? out : err.desc);
    if (ok) {
        char *text = json_dumps(commands, JSON_COMPACT);

        for (char *c = text; *c; c++)
            *c = *c == '"' ? '\'' : *c;
        assert_string_equal(out, row->out);
        assert_string_equal(text, row->late ? row->late : "[]");
        free(text);
    } else {
        assert_string_equal(err.reason, row->late);
        assert_non_null(err.data);
    }
    free(out);
    json_decref(commands);
    err_clear(&err);
}

#define LAYER_M(x) "{\"driver\":\"qcow2\",\"node-name\":\"M\",\"file\":{\"driver\":\"file\"," \
    "\"filename\":\"/m\"" x "},\"backing\":\"n\",\"read-only\":true}"
#define LAYER_T(x) "{\"driver\":\"qcow2\",\"node-name\":\"T\",\"file\":{\"driver\":\"file\"," \
    "\"filename\":\"/t,x\"" x "},\"backing\":\"M\"}"
#define NODE_N "raw,node-name=n,file.driver=file,file.filename=/a"
#define LAYERS "-blockdev " LAYER_M("") " -blockdev " LAYER_T("")

static const struct row disk_rows[] = {
    { "-hda /a -m 1", "drive:ide0-hd0", "B", "-drive index=0,media=disk,file=/t,,x,format=qcow2,"
      "node-name=T,backing.node-name=M,backing.backing.node-name=B -m 1", NULL },
    { "-S /a", "drive:ide0-hd0", NULL, "-S -drive index=0,media=disk,file=/t,,x,format=qcow2,"
      "node-name=T,backing.node-name=M", NULL },
    { "-pflash /x -pflash /a", "drive:pflash1", NULL, "-pflash /x -drive if=pflash,file=/t,,x,"
      "format=qcow2,node-name=T,backing.node-name=M", NULL },
    { "-drive id=d,file=/a,if=none,format=raw,cache=none", "drive:d", NULL,
      "-drive id=d,file=/t,,x,if=none,format=qcow2,cache=none,node-name=T,backing.node-name=M",
      NULL },
    { "-drive if=virtio,file=/a,node-name=n,driver=raw", "drive:virtio0", NULL, "-drive if=virtio,"
      "file=/t,,x,driver=qcow2,node-name=T,backing.node-name=M,backing.backing.node-name=n", NULL },
    { "-drive file.filename=/a,file.driver=host_device,file.node-name=f,if=virtio", "drive:virtio0",
      NULL, "-drive file.filename=/t,,x,file.driver=file,if=virtio,format=qcow2,node-name=T,"
      "backing.node-name=M,backing.backing.file.node-name=f", NULL },
    { "-drive if=none,file=/a,id=d,node-name=n -device ide-hd,drive=n", "drive:d", "n",
      "-drive if=none,file=/t,,x,id=d,format=qcow2,node-name=T,backing.node-name=M,"
      "backing.backing.node-name=n -device ide-hd,drive=T", NULL },
    { "-blockdev " NODE_N ",discard=unmap -device ide-hd,drive=n", "node:n", "n",
      "-blockdev " NODE_N ",discard=unmap,read-only=on -blockdev {\"driver\":\"qcow2\","
      "\"node-name\":\"M\",\"file\":{\"driver\":\"file\",\"filename\":\"/m\"},"
      "\"discard\":\"unmap\",\"backing\":\"n\",\"read-only\":true} "
      "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"T\","
      "\"file\":{\"driver\":\"file\",\"filename\":\"/t,x\"},\"discard\":\"unmap\","
      "\"backing\":\"M\"} -device ide-hd,drive=T", NULL },
    { "-blockdev " NODE_N ",auto-read-only=on,file.aio=native,read-only=off -device "
      "{\"driver\":\"nvme\",\"drive\":\"n\"}", "node:n", NULL,
      "-blockdev " NODE_N ",file.aio=native,read-only=on -blockdev " LAYER_M(",\"aio\":\"native\"")
      " -blockdev " LAYER_T(",\"aio\":\"native\"") " -device {\"driver\":\"nvme\",\"drive\":\"T\"}",
      NULL },
    { "-machine pflash0=n,x=y -blockdev " NODE_N, "node:n", NULL,
      "-machine pflash0=T,x=y -blockdev " NODE_N ",read-only=on " LAYERS, NULL },
    { "-blockdev " NODE_N " -blockdev throttle,node-name=t,throttle-group=g,file=n -device "
      "ide-hd,drive=t", "node:n", NULL, "-blockdev " NODE_N ",read-only=on " LAYERS " -blockdev "
      "throttle,node-name=t,throttle-group=g,file=T -device ide-hd,drive=t", NULL },
    { "-blockdev {\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"/a\",\"aio\":\"threads\"} "
      "-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":\"f\"} -device ide-hd,drive=n",
      "node:n", NULL, "-blockdev {\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"/a\","
      "\"aio\":\"threads\"} -blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":\"f\","
      "\"read-only\":true} -blockdev " LAYER_M(",\"aio\":\"threads\"") " -blockdev "
      LAYER_T(",\"aio\":\"threads\"") " -device ide-hd,drive=T", NULL },
    { "-blockdev " NODE_N " -device ide-hd,drive=n", "node:n", "B", "-blockdev {\"driver\":\"raw\","
      "\"node-name\":\"B\",\"file\":{\"driver\":\"file\",\"filename\":\"/a\"},\"read-only\":true} "
      "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"M\",\"file\":{\"driver\":\"file\","
      "\"filename\":\"/m\"},\"backing\":\"B\",\"read-only\":true} -blockdev " LAYER_T("")
      " -device ide-hd,drive=T", NULL },
    { "-hda /a", "drive:nope", NULL, NULL, "unknown-disk" },
    { "-drive file=/a,format=raw,size=1M", "drive:ide0-hd0", NULL, NULL, "unsupported-disk" },
    { "-drive file=/a,snapshot=on", "drive:ide0-hd0", NULL, NULL, "unsupported-argument" },
    { "-blockdev file,node-name=n,filename=/a -device ide-hd,drive=n", "node:n", NULL, NULL,
      "unsupported-disk" },
};

static void disks_move_onto_their_layers(void **state)
{
    for (size_t i = 0; i < sizeof(disk_rows) / sizeof(disk_rows[0]); i++)
        assert_row(&disk_rows[i], false);
    (void)state;
}

#define HMP(line) "{'execute':'human-monitor-command','arguments':{'command-line':'" line "'}}"
#define MOVE(n, to) "{'rename':{'from':'/late/late" n "','to':'" to "'}}"
#define CHANGE(id, type, data) "{'execute':'chardev-change','arguments':{'id':'" id "'," \
    "'backend':{'type':'" type "','data':" data "}}}"
#define VNC(address) "{'execute':'display-update','arguments':{'type':'vnc','addresses':[" address \
    "]}}"

static const struct row late_rows[] = {
    { "-m 1 -nodefaults -nographic -netdev user,id=n -display none", NULL, NULL,
      "-m 1 -nodefaults -nographic -netdev user,id=n -display none", NULL },
    { "-nographic", NULL, NULL, "-nographic -chardev backend=null,id=serial0 -serial chardev:serial0",
      "[" CHANGE("serial0", "stdio", "{}") "]" },
    { "-nographic -serial stdio", NULL, NULL,
      "-nographic -chardev backend=null,id=serial0 -serial chardev:serial0",
      "[" CHANGE("serial0", "stdio", "{}") "]" },
    { "-nographic -serial mon:stdio", NULL, NULL, "-nographic -serial mon:stdio", NULL },
    { "-chardev stdio,id=c,signal=off -serial chardev:c", NULL, NULL,
      "-chardev backend=null,id=c -serial chardev:c",
      "[" CHANGE("c", "stdio", "{'signal':false}") "]" },
    { "-D /l -d int -runas me", NULL, NULL, NULL, "needs-replace" },
    { "-D /l -d int", NULL, NULL, "-D /dev/null -d int", "[" HMP("logfile /l") "]" },
    { "-D /l%d -d int -runas me", NULL, NULL, "-D /l%d -d int -runas me", NULL },
    { "-serial stdio -runas me", NULL, NULL,
      "-chardev backend=null,id=serial0 -serial chardev:serial0 -runas me",
      "[" CHANGE("serial0", "stdio", "{}") "]" },
    { "-chardev socket,id=c,path=/p,server=on -gdb chardev:c", NULL, NULL,
      "-chardev socket,id=c,path=/late/late0,server=on,wait=off -gdb chardev:c",
      "[" MOVE("0", "/p") "]" },
    { "-netdev user,id=n,hostfwd=tcp::1-:2,net=10.0.0.0/8,hostfwd=udp::3-:4", NULL, NULL,
      "-netdev user,id=n,net=10.0.0.0/8",
      "[" HMP("hostfwd_add n tcp::1-:2") "," HMP("hostfwd_add n udp::3-:4") "]" },
    { "-nic user,hostfwd=tcp::1-:2", NULL, NULL, "-nic user,id=qp-net0",
      "[" HMP("hostfwd_add qp-net0 tcp::1-:2") "]" },
    { "-netdev {\"type\":\"user\",\"id\":\"n\",\"hostfwd\":[{\"str\":\"tcp::1-:2\"}]}", NULL, NULL,
      "-netdev {\"type\":\"user\",\"id\":\"n\"}", "[" HMP("hostfwd_add n tcp::1-:2") "]" },
    { "-s -gdb none", NULL, NULL, "-gdb none", "[" HMP("gdbserver tcp::1234") "]" },
    { "-vnc :1,password=on,to=5", NULL, NULL, "-vnc none,password=on",
      "[" VNC("{'type':'inet','host':'','port':'5901','to':5905}") "]" },
    { "-display vnc=[::1]:2,ipv6=on", NULL, NULL, "-vnc none",
      "[" VNC("{'type':'inet','host':'::1','port':'5902','ipv6':true}") "]" },
    { "-vnc unix:/v", NULL, NULL, "-vnc none", "[" VNC("{'type':'unix','path':'/v'}") "]" },
    { "-serial unix:/s,server", NULL, NULL,
      "-chardev backend=null,id=serial0 -serial chardev:serial0",
      "[" CHANGE("serial0", "socket", "{'addr':{'type':'unix','data':{'path':'/s'}},'server':true,"
                 "'wait':false}") "]" },
    { "-serial null -serial telnet:h:1,server=on,wait=off,nodelay=on", NULL, NULL,
      "-serial null -chardev backend=null,id=serial1 -serial chardev:serial1",
      "[" CHANGE("serial1", "socket", "{'addr':{'type':'inet','data':{'host':'h','port':'1'}},"
                 "'server':true,'wait':false,'nodelay':true,'telnet':true}") "]" },
    { "-serial udp:h:1@:2", NULL, NULL, "-chardev backend=null,id=serial0 -serial chardev:serial0",
      "[" CHANGE("serial0", "udp", "{'remote':{'type':'inet','data':{'host':'h','port':'1'}},"
                 "'local':{'type':'inet','data':{'host':'','port':'2'}}}") "]" },
    { "-serial file:/l,,x", NULL, NULL, "-chardev backend=file,id=serial0,path=/l,,,,x,append=on "
      "-serial chardev:serial0", NULL },
    { "-parallel file:/l -debugcon file:/d", NULL, NULL, "-chardev backend=file,id=parallel0,"
      "path=/l,append=on -parallel chardev:parallel0 -chardev backend=file,id=debugcon,path=/d,"
      "append=on -debugcon chardev:debugcon", NULL },
    { "-chardev pipe,id=c,path=/p -device isa-serial,chardev=c", NULL, NULL,
      "-chardev backend=null,id=c -device isa-serial,chardev=c",
      "[" CHANGE("c", "pipe", "{'device':'/p'}") "]" },
    { "-chardev socket,id=c,path=/p,reconnect=1,logfile=/l", NULL, NULL,
      "-chardev backend=null,id=c", "[" CHANGE("c", "socket", "{'addr':{'type':'unix','data':{"
      "'path':'/p'}},'server':false,'reconnect':1,'logfile':'/l','logappend':true}") "]" },
    { "-chardev stdio,id=c,logfile=/l -device virtconsole,chardev=c", NULL, NULL,
      "-chardev stdio,id=c,logfile=/l,logappend=on -device virtconsole,chardev=c", NULL },
    { "-chardev socket,id=q,path=/q,server=on -device virtserialport,chardev=q", NULL, NULL,
      "-chardev socket,id=q,path=/late/late0,server=on,wait=off -device virtserialport,chardev=q",
      "[" MOVE("0", "/q") "]" },
    { "-monitor stdio -monitor unix:/m,server,nowait", NULL, NULL,
      "-monitor stdio -chardev backend=socket,id=compat_monitor1,path=/late/late0,server=on,"
      "wait=off -monitor "
      "chardev:compat_monitor1", "[" MOVE("0", "/m") "]" },
    { "-serial mon:unix:/s,server=on,wait=off", NULL, NULL, "-chardev backend=socket,id=serial0,"
      "mux=on,path=/late/late0,server=on,wait=off -mon serial0,mode=readline -serial "
      "chardev:serial0", "[" MOVE("0", "/s") "]" },
    { "-object memory-backend-file,id=m,mem-path=/f,share=off,size=1M -object iothread,id=i", NULL,
      NULL, "-object memory-backend-file,id=m,mem-path=/f,share=off,size=1M -object iothread,id=i",
      NULL },
};

static void resources_are_bound_later(void **state)
{
    for (size_t i = 0; i < sizeof(late_rows) / sizeof(late_rows[0]); i++)
        assert_row(&late_rows[i], true);
    (void)state;
}

static void exclusive_resources_need_replace(void **state)
{
    static const char *const lines[] = {
        "-netdev tap,id=n,ifname=t0", "-nic tap,fd=3", "-net socket,listen=:1",
        "-netdev vhost-user,id=n,chardev=c", "-netdev stream,id=n,addr.type=unix,addr.path=/x",
        "-netdev user,id=n,guestfwd=tcp:1.2.3.4:5-chardev:c", "-spice port=1",
        "-vnc :1,websocket=on",
        "-vnc :1 -vnc :2", "-vnc :1,reverse=on", "-vnc localhost", "-display spice-app",
        "-device vhost-vsock-pci,guest-cid=3", "-device vfio-pci,host=1", "-pidfile /p",
        "-object memory-backend-file,id=m,mem-path=/f,share=on,size=1M",
        "-object {\"qom-type\":\"filter-dump\",\"id\":\"f\",\"file\":\"/x\"}",
        "-chardev socket,id=c,fd=3,server=on -device isa-serial,chardev=c",
        "-chardev socket,id=c,path=/p -device virtserialport,chardev=c", "-monitor tcp:h:1,server",
        "-chardev socket,id=c,host=h,port=1,server=on,mux=on -serial chardev:c -mon c",
        "-chardev spicevmc,id=c,name=x", "-tpmdev passthrough,id=t", "-qtest unix:/q", "-frob",
        "-daemonize", "-run-with user=me -s", "-net tap,script=no",
        "-trace file=/t", "-D \"q\"", "-audiodev wav,id=a,path=/w",
        "-audiodev {\"driver\":\"wav\",\"id\":\"a\"}",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const struct row row = { lines[i], NULL, NULL, NULL, "needs-replace" };

        assert_row(&row, true);
    }
    (void)state;
}

static void sockets_need_a_place_to_stand_aside(void **state)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse("-monitor unix:/m,server=on,wait=off", &err);
    const struct args_rewrite rw = { .late = true };
    char **argv;
    json_t *commands;

    assert_false(args_rewrite(args, &rw, &argv, &commands, &err));
    assert_string_equal(err.reason, "needs-replace");
    err_clear(&err);
    args_free(args);
    (void)state;
}

static void waiting_process_is_asked_for_once(void **state)
{
    static const char *const extra[] = { "-mon", "q,mode=control", "-nodefaults", NULL };
    static const char *const lines[][2] = {
        { "-m 1", "-m 1 -S -incoming defer -mon q,mode=control -nodefaults" },
        { "--S -m 1", "--S -m 1 -incoming defer -mon q,mode=control -nodefaults" },
    };
    const struct args_rewrite rw = { .paused = true, .incoming = true, .extra = extra };

    for (size_t i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        struct args *args = words_parse(lines[i][0], &err);
        json_t *commands;
        char **argv;
        char *out;

        assert_true(args_rewrite(args, &rw, &argv, &commands, &err));
        out = words_join(argv);
        assert_string_equal(argv[0], "qemu");
        assert_string_equal(out, lines[i][1]);
        free(out);
        args_strv_free(argv);
        json_decref(commands);
        args_free(args);
    }
    (void)state;
}

static void users_own_state_to_load_is_refused(void **state)
{
    static const char *const lines[] = { "-incoming tcp::1", "-loadvm x" };
    const struct args_rewrite rw = { .incoming = true };

    for (size_t i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        struct args *args = words_parse(lines[i], &err);
        json_t *commands;
        char **argv;

        assert_false(args_rewrite(args, &rw, &argv, &commands, &err));
        assert_string_equal(err.reason, "unsupported-argument");
        err_clear(&err);
        args_free(args);
    }
    (void)state;
}

/* Several disks, one of them unchanged, one node whose layers have no names. */
static void every_disk_keeps_its_own_layers(void **state)
{
    const struct layer_arg one[] = { { "/x", "raw", "ignored" } };
    const struct layer_arg two[] = { { "/y1", "qcow2", NULL }, { "/y", NULL, NULL } };
    const struct layer_arg three[] = { { "/z1", "qcow2", NULL }, { "/a", "raw", NULL } };
    const struct disk_rewrite disks[] = {
        { "drive:virtio0", one, 1, false }, { "drive:ide0-hd0", two, 2, false },
        { "node:n", three, 2, false },
    };
    const struct args_rewrite rw = { .disks = disks, .n_disks = 3, .node_prefix = "p" };
    struct err err = ERR_INIT;
    struct args *args = words_parse("-drive if=virtio,file=/x -hda /y -blockdev " NODE_N
                                    " -device ide-hd,drive=n", &err);
    json_t *commands;
    char **argv;
    char *out;

    assert_true(args_rewrite(args, &rw, &argv, &commands, &err));
    out = words_join(argv);
    assert_string_equal(out, "-drive if=virtio,file=/x -drive index=0,media=disk,file=/y1,"
                        "format=qcow2 -blockdev " NODE_N ",read-only=on -blockdev {\"driver\":"
                        "\"qcow2\",\"node-name\":\"p-d2-l1\",\"file\":{\"driver\":\"file\","
                        "\"filename\":\"/z1\"},\"backing\":\"n\"} -device ide-hd,drive=p-d2-l1");
    free(out);
    args_strv_free(argv);
    json_decref(commands);
    args_free(args);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_move_onto_their_layers),
        cmocka_unit_test(resources_are_bound_later),
        cmocka_unit_test(exclusive_resources_need_replace),
        cmocka_unit_test(sockets_need_a_place_to_stand_aside),
        cmocka_unit_test(waiting_process_is_asked_for_once),
        cmocka_unit_test(users_own_state_to_load_is_refused),
        cmocka_unit_test(every_disk_keeps_its_own_layers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
