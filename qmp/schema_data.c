/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/schema.h"

/*
 * DESIGN "Commands" as QEMU's SchemaInfo (qapi/introspect.json): a member is optional when it has a
 * default, which is always null; a list of T is the type "[T]"; an enum lists its values twice, for
 * readers from before QEMU 6.2 too.
 */
/* One line of a member or a value each. */
#define MEMBER(n, t) "{\"name\":\"" n "\",\"type\":\"" t "\"}"
#define OPTIONAL(n, t) "{\"name\":\"" n "\",\"type\":\"" t "\",\"default\":null}"
#define COMMAND(n, arg, ret) "{\"name\":\"" n "\",\"meta-type\":\"command\"," \
    "\"arg-type\":\"" arg "\",\"ret-type\":\"" ret "\"}"
#define EVENT(n, arg) "{\"name\":\"" n "\",\"meta-type\":\"event\",\"arg-type\":\"" arg "\"}"
#define OBJECT(n, members) "{\"name\":\"" n "\",\"meta-type\":\"object\",\"members\":[" members "]}"
#define ARRAY(t) "{\"name\":\"[" t "]\",\"meta-type\":\"array\",\"element-type\":\"" t "\"}"
#define BUILTIN(n, json) "{\"name\":\"" n "\",\"meta-type\":\"builtin\",\"json-type\":\"" json "\"}"
#define VALUE(v) "{\"name\":\"" v "\"}"
#define QUOTED(v) "\"" v "\""
#define LIST2(f, a, b) f(a) "," f(b)
#define LIST3(f, a, b, c) LIST2(f, a, b) "," f(c)
#define LIST4(f, a, b, c, d) LIST3(f, a, b, c) "," f(d)
#define LIST5(f, a, b, c, d, e) LIST4(f, a, b, c, d) "," f(e)
#define ENUM(n, list, ...) "{\"name\":\"" n "\",\"meta-type\":\"enum\",\"members\":[" \
    list(VALUE, __VA_ARGS__) "],\"values\":[" list(QUOTED, __VA_ARGS__) "]}"

const char *const schema_entries[] = {
    /* Commands. */
    COMMAND("snapshot-create", "SnapshotCreateArgs", "SnapshotResult"),
    COMMAND("snapshot-revert", "SnapshotRevertArgs", "SnapshotResult"),
    COMMAND("snapshot-delete", "SnapshotDeleteArgs", "SnapshotResult"),
    COMMAND("query-snapshots", "SnapshotQueryArgs", "[SnapshotInfo]"),

    /* Events. */
    EVENT("SNAPSHOT_CREATED", "SnapshotEvent"),
    EVENT("SNAPSHOT_DELETED", "SnapshotEvent"),
    EVENT("SNAPSHOT_REVERTED", "SnapshotRevertedEvent"),

    /* Arguments. */
    OBJECT("SnapshotCreateArgs",
           MEMBER("name", "str") ","
           OPTIONAL("description", "str") ","
           OPTIONAL("disks", "[str]") ","
           OPTIONAL("memory", "SnapshotMemoryKind") ","
           OPTIONAL("live", "bool") ","
           OPTIONAL("job-id", "str") ","
           OPTIONAL("dry-run", "bool")),
    OBJECT("SnapshotRevertArgs",
           MEMBER("name", "str") ","
           OPTIONAL("state", "SnapshotRunState") ","
           OPTIONAL("method", "SnapshotMethod") ","
           OPTIONAL("discard", "bool") ","
           OPTIONAL("save-as", "str") ","
           OPTIONAL("job-id", "str") ","
           OPTIONAL("dry-run", "bool")),

    /* The command of QEMU's own takes job-id, tag and devices.  job-id stays as it is there, though
     * ours does without: what needs no argument at all is taken for a query that may be tried
     * (QEMU tests/qtest/qmp-cmd-test.c). */
    OBJECT("SnapshotDeleteArgs",
           MEMBER("job-id", "str") ","
           OPTIONAL("tag", "str") ","
           OPTIONAL("devices", "[str]") ","
           OPTIONAL("name", "str") ","
           OPTIONAL("children", "SnapshotChildren") ","
           OPTIONAL("direction", "SnapshotDirection") ","
           OPTIONAL("metadata-only", "bool") ","
           OPTIONAL("dry-run", "bool")),

    OBJECT("SnapshotQueryArgs", OPTIONAL("name", "str") "," OPTIONAL("verify", "bool")),
    ENUM("SnapshotMemoryKind", LIST3, "stream", "vmstate", "none"),
    ENUM("SnapshotRunState", LIST4, "as-saved", "running", "paused", "prelaunch"),
    ENUM("SnapshotMethod", LIST5, "auto", "in-place", "respawn", "standby", "replace"),
    ENUM("SnapshotChildren", LIST3, "keep", "include", "only"),
    ENUM("SnapshotDirection", LIST3, "auto", "commit", "stream"),

    /* Results. */
    OBJECT("SnapshotResult",
           OPTIONAL("snapshot", "SnapshotInfo") ","
           OPTIONAL("plan", "[SnapshotStep]") ","
           OPTIONAL("method", "str") ","
           OPTIONAL("reasons", "[str]") ","
           OPTIONAL("deleted", "[str]") ","
           OPTIONAL("standstill", "int")),
    ARRAY("SnapshotStep"),
    OBJECT("SnapshotStep",
           MEMBER("step", "str") ","
           OPTIONAL("command", "str") ","
           OPTIONAL("target", "str") ","
           MEMBER("undo", "bool") ","
           OPTIONAL("bytes", "int") ","
           OPTIONAL("commit-point", "bool")),
    ARRAY("SnapshotInfo"),
    OBJECT("SnapshotInfo",
           MEMBER("name", "str") ","
           OPTIONAL("parent", "str") ","
           MEMBER("children", "[str]") ","
           MEMBER("current", "bool") ","
           OPTIONAL("description", "str") ","
           MEMBER("created", "SnapshotTime") ","
           MEMBER("run-state", "str") ","
           MEMBER("origin", "SnapshotOrigin") ","
           OPTIONAL("memory", "SnapshotMemory") ","
           MEMBER("disks", "[SnapshotDisk]") ","
           OPTIONAL("operation", "str") ","
           MEMBER("problems", "[str]")),
    OBJECT("SnapshotTime", MEMBER("seconds", "int") "," MEMBER("microseconds", "int")),
    ENUM("SnapshotOrigin", LIST2, "created", "observed"),
    OBJECT("SnapshotMemory",
           MEMBER("format", "str") ","
           MEMBER("file", "str") ","
           MEMBER("size", "int")),
    ARRAY("SnapshotDisk"),
    OBJECT("SnapshotDisk",
           MEMBER("device", "str") ","
           OPTIONAL("node-name", "str") ","
           MEMBER("image", "str") ","
           MEMBER("format", "str")),

    /* What events carry. */
    OBJECT("SnapshotEvent", MEMBER("name", "str")),
    OBJECT("SnapshotRevertedEvent",
           MEMBER("name", "str") ","
           MEMBER("method", "str") ","
           MEMBER("run-state", "str") ","
           MEMBER("respawned", "bool")),

    /* Types of QEMU's own, added where it doesn't list them. */
    BUILTIN("str", "string"),
    BUILTIN("int", "int"),
    BUILTIN("bool", "boolean"),
    ARRAY("str"),
    NULL,
};
