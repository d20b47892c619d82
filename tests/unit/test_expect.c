/* SPDX-License-Identifier: GPL-2.0-or-later */
/* expect_check: every kind, each verdict.  One row: expectation, answer, verdict, and for a NO the
 * reason and a word of the sentence.  Single quotes stand for double ones. */
#include "tests/unit/graph_data.h"
#include "tests/unit/json_text.h"

#undef expect_check             /* cmocka has a macro of that name */
#include "policy/expect.h"

struct row {
    const char *expect, *answer;
    enum expect_verdict verdict;
    const char *reason, *word;
};

static void row_check(const struct row *row, const json_t *answer)
{
    json_t *expect = json_text(row->expect);
    struct err why = ERR_INIT;
    enum expect_verdict verdict = expect_check(expect, answer, &why);

    if (verdict != row->verdict)
        fail_msg("%s on %s: verdict %d, wanted %d (%s)", row->expect,
                 row->answer ? row->answer : "(file)", verdict, row->verdict, why.desc);
    assert_int_equal(why.set, verdict == EXPECT_NO);
    if (why.set) {
        assert_string_equal(why.reason, row->reason);
        if (!strstr(why.desc, row->word))
            fail_msg("\"%s\" is not in \"%s\"", row->word, why.desc);
    }
    err_clear(&why);
    json_decref(expect);
}

static void rows_check(const struct row *row, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *answer = json_text(row[i].answer);

        row_check(&row[i], answer);
        json_decref(answer);
    }
}

#define ROWS_CHECK(rows) rows_check(rows, sizeof(rows) / sizeof((rows)[0]))
#define FAILED "qemu-failed"
#define PLAN "bad-plan"
#define ANSWER "unexpected-answer"

static void status_is_listed_waited_for_or_lost(void **state)
{
    static const struct row row[] = {
        { "{'is':'status','in':['paused','prelaunch']}", "{'status':'prelaunch'}",
          EXPECT_YES, 0, 0 },
        { "{'is':'status','in':['paused']}", "{'status':'paused'}", EXPECT_YES, 0, 0 },
        { "{'is':'status','in':['paused']}", "{'status':'running'}", EXPECT_WAIT, 0, 0 },
        { "{'is':'status','in':['paused']}", "{'status':'brand-new'}", EXPECT_WAIT, 0, 0 },
        { "{'is':'status','in':['paused']}", "{'status':'io-error'}",
          EXPECT_NO, FAILED, "io-error" },
        { "{'is':'status','in':['paused']}", "{'status':'shutdown'}", EXPECT_NO, FAILED, "shutd" },
        { "{'is':'status','in':['paused']}", "{'status':'internal-error'}",
          EXPECT_NO, FAILED, "int" },
        { "{'is':'status','in':['paused']}", "{'status':'guest-panicked'}",
          EXPECT_NO, FAILED, "pan" },
        { "{'is':'status','in':['io-error']}", "{'status':'io-error'}", EXPECT_YES, 0, 0 },
        { "{'is':'status','in':['paused']}", "{}", EXPECT_NO, ANSWER, "status" },
        { "{'is':'status','in':['paused']}", "[]", EXPECT_NO, ANSWER, "status" },
        { "{'is':'status','in':[]}", "{'status':'paused'}", EXPECT_NO, PLAN, "in" },
        { "{'is':'status','in':['paused',1]}", "{'status':'paused'}", EXPECT_NO, PLAN, "in" },
        { "{'is':'status'}", "{'status':'paused'}", EXPECT_NO, PLAN, "in" },
    };

    (void)state;
    ROWS_CHECK(row);
}

static void migration_ends_well_or_badly(void **state)
{
    static const char *const waits[] = {
        "none", "setup", "active", "device", "postcopy-active", "postcopy-paused",
        "postcopy-recover", "wait-unplug", "pre-switchover",
    };
    static const struct row row[] = {
        { "{'is':'migrated','final':['completed']}", "{'status':'completed'}", EXPECT_YES, 0, 0 },
        { "{'is':'migrated'}", "{'status':'completed'}", EXPECT_YES, 0, 0 },
        { "{'is':'migrated'}", "{}", EXPECT_WAIT, 0, 0 },
        { "{'is':'migrated'}", "{'status':'failed','error-desc':'no room'}", EXPECT_NO, FAILED,
          "no room" },
        { "{'is':'migrated'}", "{'status':'failed'}", EXPECT_NO, FAILED, "failed" },
        { "{'is':'migrated'}", "{'status':'cancelled'}", EXPECT_NO, FAILED, "cancelled" },
        { "{'is':'migrated'}", "{'status':'cancelling'}", EXPECT_NO, FAILED, "cancelling" },
        { "{'is':'migrated','final':['cancelled']}", "{'status':'cancelling'}", EXPECT_WAIT, 0, 0 },
        { "{'is':'migrated','final':['cancelled','failed']}", "{'status':'failed'}", EXPECT_YES, 0,
          0 },
        { "{'is':'migrated','final':['cancelled']}", "{'status':'completed'}", EXPECT_NO, FAILED,
          "completed" },
        { "{'is':'migrated','final':'completed'}", "{'status':'completed'}",
          EXPECT_NO, PLAN, "fin" },
        { "{'is':'migrated'}", "{'status':5}", EXPECT_NO, ANSWER, "status" },
        { "{'is':'migrated'}", "[]", EXPECT_NO, ANSWER, "status" },
    };

    (void)state;
    ROWS_CHECK(row);
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        struct row wait = {
            "{'is':'migrated','final':['completed']}", waits[i], EXPECT_WAIT, 0, 0,
        };
        json_t *answer = json_pack("{s:s}", "status", waits[i]);

        row_check(&wait, answer);
        json_decref(answer);
    }
}

static void jobs_are_followed_to_their_end(void **state)
{
    static const struct row row[] = {
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'Y','status':'running'},"
          "{'id':'X','status':'ready'}]", EXPECT_YES, 0, 0 },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'X','status':'running'}]", EXPECT_WAIT, 0,
          0 },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'Y','status':'ready'}]",
          EXPECT_NO, FAILED, "gone" },
        { "{'is':'job','id':'X','in':['null']}", "[]", EXPECT_YES, 0, 0 },
        { "{'is':'job','id':'X','in':['null']}", "[{'id':'X','status':'concluded'}]",
          EXPECT_WAIT, 0, 0 },
        { "{'is':'job','id':'X','in':['concluded']}", "[{'id':'X','status':'concluded'}]",
          EXPECT_YES, 0, 0 },
        { "{'is':'job','id':'X','in':['concluded']}", "[{'id':'X','status':'concluded',"
          "'error':'I/O error'}]", EXPECT_NO, FAILED, "I/O error" },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'X','status':'aborting','error':'bad'}]",
          EXPECT_NO, FAILED, "bad" },
        { "{'is':'job','id':'X','in':['concluded'],'error-ok':true}",
          "[{'id':'X','status':'concluded','error':'bad'}]", EXPECT_YES, 0, 0 },
        { "{'is':'job','id':'X','in':['concluded'],'error-ok':false}",
          "[{'id':'X','status':'concluded','error':'bad'}]", EXPECT_NO, FAILED, "bad" },
        { "{'is':'job','id':'X','in':['null'],'error-ok':true}",
          "[{'id':'X','status':'aborting','error':'bad'}]", EXPECT_WAIT, 0, 0 },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'X','status':'running','error':'x'}]",
          EXPECT_WAIT, 0, 0 },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'X','status':'concluded'}]", EXPECT_NO,
          FAILED, "too early" },
        { "{'is':'job','id':'X','in':['ready']}", "{}", EXPECT_NO, ANSWER, "jobs" },
        { "{'is':'job','id':'X','in':['ready']}", "[{'id':'X'}]", EXPECT_NO, ANSWER, "job" },
        { "{'is':'job','in':['ready']}", "[]", EXPECT_NO, PLAN, "id" },
        { "{'is':'job','id':'X'}", "[]", EXPECT_NO, PLAN, "in" },
        { "{'is':'job','id':'X','in':['null'],'error-ok':1}", "[]", EXPECT_NO, PLAN, "error-ok" },
    };

    (void)state;
    ROWS_CHECK(row);
}

#define NODES "[{'node-name':'a','drv':'qcow2','ro':false,'file':'/a'},{'node-name':'b'}]"

static void nodes_are_there_or_not_with_what_they_are(void **state)
{
    static const struct row row[] = {
        { "{'is':'node','name':'a','present':true}", NODES, EXPECT_YES, 0, 0 },
        { "{'is':'node','name':'a','present':true,'driver':'qcow2','read-only':false,'file':'/a'}",
          NODES, EXPECT_YES, 0, 0 },
        { "{'is':'node','name':'a','present':true,'driver':'raw'}", NODES,
          EXPECT_NO, FAILED, "driver" },
        { "{'is':'node','name':'a','present':true,'read-only':true}", NODES,
          EXPECT_NO, FAILED, "read" },
        { "{'is':'node','name':'a','present':true,'file':'/b'}", NODES, EXPECT_NO, FAILED, "file" },
        { "{'is':'node','name':'b','present':true,'file':'/b'}", NODES, EXPECT_NO, ANSWER, "file" },
        { "{'is':'node','name':'c','present':true}", NODES, EXPECT_NO, FAILED, "not exist" },
        { "{'is':'node','name':'c','present':false}", NODES, EXPECT_YES, 0, 0 },
        { "{'is':'node','name':'a','present':false}", NODES, EXPECT_NO, FAILED, "still" },
        { "{'is':'node','name':'a','present':true}", "{}", EXPECT_NO, ANSWER, "nodes" },
        { "{'is':'node','name':'a'}", NODES, EXPECT_NO, PLAN, "present" },
        { "{'is':'node','present':true}", NODES, EXPECT_NO, PLAN, "name" },
        { "{'is':'node','name':'a','present':true,'driver':1}", NODES, EXPECT_NO, PLAN, "driver" },
    };

    (void)state;
    ROWS_CHECK(row);
}

#define DISKS "[{'device':'d','inserted':{'node-name':'n'}},{'device':'cd','qdev':'cd0'}," \
              "{'device':'','qdev':'/machine/peripheral/v/virtio-backend'," \
              "'inserted':{'node-name':'m'}},{'device':'','qdev':'w'},{'device':'','qdev':'w'}]"

static void disks_stand_on_the_node(void **state)
{
    static const struct row row[] = {
        { "{'is':'disk','device':'d','node':'n'}", DISKS, EXPECT_YES, 0, 0 },
        { "{'is':'disk','qdev':'v','node':'m'}", DISKS, EXPECT_YES, 0, 0 },
        { "{'is':'disk','device':'','qdev':'v','node':'m'}", DISKS, EXPECT_YES, 0, 0 },
        { "{'is':'disk','device':'d','node':'m'}", DISKS, EXPECT_NO, FAILED, "not on" },
        { "{'is':'disk','device':'cd','node':'m'}", DISKS, EXPECT_NO, FAILED, "nothing" },
        { "{'is':'disk','device':'d','qdev':'v','node':'n'}", DISKS,
          EXPECT_NO, "disk-gone", "no disk" },
        { "{'is':'disk','device':'e','node':'n'}", DISKS, EXPECT_NO, "disk-gone", "no disk" },
        { "{'is':'disk','qdev':'w','node':'n'}", DISKS, EXPECT_NO, "disk-gone", "More than" },
        { "{'is':'disk','device':'d','node':'n'}", "{}", EXPECT_NO, ANSWER, "disks" },
        { "{'is':'disk','device':'','node':'n'}", DISKS, EXPECT_NO, PLAN, "device" },
        { "{'is':'disk','qdev':3,'node':'n'}", DISKS, EXPECT_NO, PLAN, "qdev" },
        { "{'is':'disk','device':'d'}", DISKS, EXPECT_NO, PLAN, "node" },
    };

    (void)state;
    ROWS_CHECK(row);
}

#define SD0 "{'qdev':'sd0','chain':[{'node':'o1','file':'/images/o1.qcow2','driver':'qcow2'}," \
            "{'file':'/images/b.raw','driver':'raw'}]}"
#define VD0 "{'qdev':'vd0','chain':[{'file':'/images/o0.qcow2','driver':'qcow2'}," \
            "{'node':'q0','file':'/images/a.qcow2','driver':'qcow2'}," \
            "{'file':'/images/base.qcow2','driver':'qcow2'}]}"
#define VD2 "{'qdev':'vd2','chain':[{'file':'/images/flash.raw','driver':'file'}]}"
#define CHAIN(list) "{'is':'chain','disks':[" list "]}"
#define ONLY(list) "{'is':'chain','only':true,'disks':[" list "]}"
#define SD0_LIKE(links) CHAIN("{'qdev':'sd0','chain':[" links "]}")
#define TOP "{'file':'/images/o1.qcow2','driver':'qcow2'}"
#define MISMATCH "chain-mismatch"

static void chains_equal_the_list_exactly(void **state)
{
    static const struct row row[] = {
        { CHAIN(SD0), 0, EXPECT_YES, 0, 0 },
        { CHAIN(VD0 "," SD0), 0, EXPECT_YES, 0, 0 },
        { ONLY(VD0 "," SD0 "," VD2), 0, EXPECT_YES, 0, 0 },
        { ONLY(VD0 "," SD0), 0, EXPECT_NO, MISMATCH, "unexpected writable disk" },
        { ONLY(VD0 "," SD0 "," VD2 ",{'qdev':'cd0','chain':[]}"), 0, EXPECT_YES, 0, 0 },
        { CHAIN("{'qdev':'cd0','chain':[" TOP "]}"), 0, EXPECT_NO, MISMATCH, "(none)" },
        { SD0_LIKE(TOP), 0, EXPECT_NO, MISMATCH, "image 1" },
        { SD0_LIKE(""), 0, EXPECT_NO, MISMATCH, "image 0" },
        { SD0_LIKE(TOP ",{'file':'/images/b.raw','driver':'raw'}," TOP), 0, EXPECT_NO, MISMATCH,
          "image 2" },
        { SD0_LIKE(TOP ",{'file':'/images/b.raw','driver':'qcow2'}"), 0,
          EXPECT_NO, MISMATCH, "b.raw" },
        { SD0_LIKE(TOP ",{'file':'/images/B.raw','driver':'raw'}"), 0,
          EXPECT_NO, MISMATCH, "B.raw" },
        { SD0_LIKE(TOP ",{'node':'o1','file':'/images/b.raw','driver':'raw'}"), 0,
          EXPECT_NO, MISMATCH, "b.raw" },
        { SD0_LIKE(TOP ",{'file':'/images/x/..//./b.raw','driver':'raw'}"), 0, EXPECT_YES, 0, 0 },
        { SD0_LIKE(TOP ",{'file':'/images/../b.raw','driver':'raw'}"), 0, EXPECT_NO, MISMATCH, "b.raw" },
        { SD0_LIKE(TOP ",{'file':'/images/x/../../images/b.raw','driver':'raw'}"), 0,
          EXPECT_YES, 0, 0 },
        { SD0_LIKE(TOP ",{'file':'images/b.raw','driver':'raw'}"), 0, EXPECT_NO, MISMATCH, "b.raw" },
        { SD0_LIKE(TOP ",{'file':'/x','also':['/y','/images/b.raw'],'driver':'raw'}"), 0,
          EXPECT_YES, 0, 0 },
        { SD0_LIKE(TOP ",{'file':'/x','also':['/y'],'driver':'raw'}"), 0, EXPECT_NO, MISMATCH, "b.raw" },
        { SD0_LIKE(TOP ",{'file':'/x','also':7,'driver':'raw'}"), 0, EXPECT_NO, PLAN, "also" },
        { CHAIN("{'device':'nobody','chain':[]}"), 0, EXPECT_NO, "disk-gone", "nobody" },
        { CHAIN(SD0 "," SD0), 0, EXPECT_NO, PLAN, "two chains" },
        { CHAIN("{'chain':[]}"), 0, EXPECT_NO, PLAN, "device" },
        { CHAIN("{'qdev':'sd0'}"), 0, EXPECT_NO, PLAN, "chain" },
        { SD0_LIKE("{'file':'/images/o1.qcow2'}"), 0, EXPECT_NO, PLAN, "driver" },
        { SD0_LIKE("{'driver':'qcow2'}"), 0, EXPECT_NO, PLAN, "file" },
        { SD0_LIKE("{'file':'/images/o1.qcow2','driver':'qcow2','node':1}"), 0,
          EXPECT_NO, PLAN, "node" },
        { "{'is':'chain'}", 0, EXPECT_NO, PLAN, "disks" },
        { "{'is':'chain','disks':[],'only':1}", 0, EXPECT_NO, PLAN, "only" },
    };
    const struct row no_answer = { CHAIN(SD0), "{}", EXPECT_NO, ANSWER, "type" };

    (void)state;
    for (int v = 0; v < 2; v++) {
        json_t *answer = graph_data_load("overlay", v ? "10.0" : "7.2");

        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
            row_check(&row[i], answer);
        json_decref(answer);
    }
    rows_check(&no_answer, 1);
}

#define CAPS "[{'capability':'events','state':true},{'capability':'xbzrle','state':false}]"
#define SETS "[{'fdset-id':5,'fds':[]},{'fdset-id':0,'fds':[{'fd':12}]}]"

static void migration_settings_and_descriptor_sets_are_compared(void **state)
{
    static const struct row row[] = {
        { "{'is':'parameters','equal':{'max-bandwidth':7,'tls-authz':''}}",
          "{'max-bandwidth':7,'tls-authz':'','more':1}", EXPECT_YES, 0, 0 },
        { "{'is':'parameters','equal':{'max-bandwidth':7}}", "{'max-bandwidth':8}", EXPECT_NO,
          FAILED, "max-bandwidth" },
        { "{'is':'parameters','equal':{'mode':'normal'}}", "{}", EXPECT_NO, FAILED, "mode" },
        { "{'is':'parameters','equal':{}}", "{}", EXPECT_YES, 0, 0 },
        { "{'is':'parameters','equal':{}}", "[]", EXPECT_NO, ANSWER, "parameters" },
        { "{'is':'parameters','equal':1}", "{}", EXPECT_NO, PLAN, "equal" },
        { "{'is':'capabilities','equal':{'events':true,'xbzrle':false}}", CAPS, EXPECT_YES, 0, 0 },
        { "{'is':'capabilities','equal':{'xbzrle':true}}", CAPS, EXPECT_NO, FAILED, "xbzrle" },
        { "{'is':'capabilities','equal':{'colo':true}}", CAPS, EXPECT_NO, FAILED, "colo" },
        { "{'is':'capabilities','equal':{'events':true}}", "{}", EXPECT_NO, ANSWER, "capab" },
        { "{'is':'capabilities','equal':{'events':1}}", CAPS, EXPECT_NO, PLAN, "equal" },
        { "{'is':'capabilities'}", CAPS, EXPECT_NO, PLAN, "equal" },
        { "{'is':'fdset','id':5,'present':true}", SETS, EXPECT_YES, 0, 0 },
        { "{'is':'fdset','id':6,'present':true}", SETS, EXPECT_NO, FAILED, "not exist" },
        { "{'is':'fdset','id':6,'present':false}", SETS, EXPECT_YES, 0, 0 },
        { "{'is':'fdset','id':0,'present':false}", SETS, EXPECT_NO, FAILED, "still" },
        { "{'is':'fdset','id':5,'present':true}", "[{}]", EXPECT_NO, ANSWER, "fdset-id" },
        { "{'is':'fdset','id':5,'present':true}", "{}", EXPECT_NO, ANSWER, "sets" },
        { "{'is':'fdset','id':'5','present':true}", SETS, EXPECT_NO, PLAN, "id" },
        { "{'is':'fdset','id':5}", SETS, EXPECT_NO, PLAN, "present" },
    };

    (void)state;
    ROWS_CHECK(row);
}

#define DEVICES "[{'name':'type','type':'string'},{'name':'a','type':'child<x>'}," \
                "{'name':'b','type':'child<y>'}]"

static void devices(void **state)
{
    static const struct row row[] = {
        { "{'is':'devices','present':['a','b'],'absent':['c']}", DEVICES, EXPECT_YES, 0, 0 },
        { "{'is':'devices','present':['a'],'absent':[]}", DEVICES, EXPECT_YES, 0, 0 },
        { "{'is':'devices','present':['a','c'],'absent':[]}", DEVICES, EXPECT_NO, FAILED, "\"c\"" },
        { "{'is':'devices','present':['type']}", DEVICES, EXPECT_NO, FAILED, "missing" },
        { "{'is':'devices','present':['a'],'absent':['b']}", DEVICES, EXPECT_NO, FAILED, "still" },
        { "{'is':'devices','present':['a']}", "{}", EXPECT_NO, ANSWER, "devices" },
        { "{'is':'devices','present':[]}", DEVICES, EXPECT_NO, PLAN, "present" },
        { "{'is':'devices','present':['a'],'absent':[1]}", DEVICES, EXPECT_NO, PLAN, "absent" },
    };

    (void)state;
    ROWS_CHECK(row);
}

static void unknown_kinds_are_bad_plans(void **state)
{
    static const struct row row[] = {
        { "{'is':'any'}", "{}", EXPECT_YES, 0, 0 },
        { "{'is':'any'}", "null", EXPECT_YES, 0, 0 },
        { "{'is':'anything'}", "{}", EXPECT_NO, PLAN, "is" },
        { "{'is':1}", "{}", EXPECT_NO, PLAN, "is" },
        { "{}", "{}", EXPECT_NO, PLAN, "is" },
        { "[]", "{}", EXPECT_NO, PLAN, "is" },
        { "'any'", "{}", EXPECT_NO, PLAN, "is" },
    };
    struct err why = ERR_INIT;

    (void)state;
    ROWS_CHECK(row);
    assert_int_equal(expect_check(NULL, NULL, &why), EXPECT_NO);
    assert_string_equal(why.reason, PLAN);
    err_clear(&why);
}

static void each_kind_names_its_query(void **state)
{
    static const char *const pair[][2] = {
        { "status", "query-status" }, { "migrated", "query-migrate" }, { "job", "query-jobs" },
        { "node", "query-named-block-nodes" }, { "disk", "query-block" },
        { "chain", EXPECT_QUERY_CHAIN }, { "parameters", "query-migrate-parameters" },
        { "capabilities", "query-migrate-capabilities" }, { "fdset", "query-fdsets" },
        { "devices", "qom-list" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
        json_t *expect = json_pack("{s:s}", "is", pair[i][0]);

        assert_string_equal(expect_query(expect), pair[i][1]);
        json_object_set_new(expect, "is", json_string(i % 2 ? "any" : "nothing"));
        assert_null(expect_query(expect));
        json_decref(expect);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_listed_waited_for_or_lost),
        cmocka_unit_test(migration_ends_well_or_badly),
        cmocka_unit_test(jobs_are_followed_to_their_end),
        cmocka_unit_test(nodes_are_there_or_not_with_what_they_are),
        cmocka_unit_test(disks_stand_on_the_node),
        cmocka_unit_test(chains_equal_the_list_exactly),
        cmocka_unit_test(migration_settings_and_descriptor_sets_are_compared),
        cmocka_unit_test(devices),
        cmocka_unit_test(unknown_kinds_are_bad_plans),
        cmocka_unit_test(each_kind_names_its_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
