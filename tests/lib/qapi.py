# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi: does a command fit what QEMU says of itself in query-qmp-schema?

Model: a Schema is that list.  Its entries have meta-types (QEMU qapi/introspect.json): command and
event point to an object; an object has members, of which those with a "default" may be left out,
and perhaps a tag: the member whose value chooses one more object's members; an array has one type
of elements; an alternate is any one of several types; an enum lists its values; a builtin is a JSON
type.

Rules: complaints come as sentences with the path of what they are about; none means that it fits.
Where QEMU marks something used as deprecated or unstable, it is collected in Schema.marked.
"""

import json

# Of these the schema shows some members only; what else they take depends on the device.
OPEN = ("device_add",)
INTEGERS = range(-1 << 63, 1 << 64)


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


BUILTIN = {
    "string": lambda v: isinstance(v, str),
    "number": lambda v: _is_int(v) or isinstance(v, float),
    "int": lambda v: _is_int(v) and v in INTEGERS,
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "value": lambda v: True,
}


def strict(text):
    """The JSON in text; raises ValueError where a key comes twice, too."""
    def pairs(members):
        if len(dict(members)) != len(members):
            raise ValueError(f"a key twice: {[key for key, _ in members]}")
        return dict(members)

    def constant(word):
        raise ValueError(f"not JSON: {word}")
    return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)


class Schema:
    def __init__(self, entries):
        self.by_name = {entry["name"]: entry for entry in entries}
        if len(self.by_name) != len(entries):
            raise ValueError("a name of the schema is used twice")
        self.marked = set()     # (feature, what) of everything that was checked so far
        self._open = False

    def names(self, meta):
        return {name for name, entry in self.by_name.items() if entry["meta-type"] == meta}

    def dangling(self):
        """Complaints about the schema itself: types that are not there, tags that are no enum."""
        found = []
        for entry in self.by_name.values():
            refs = [entry.get(key) for key in ("arg-type", "ret-type", "element-type")]
            refs += [member["type"] for member in entry.get("members", []) if "type" in member]
            refs += [variant["type"] for variant in entry.get("variants", [])]
            found += [f"{entry['name']} refers to {ref}" for ref in refs
                      if ref is not None and ref not in self.by_name]
            if "tag" in entry:
                tags = [m for m in entry["members"] if m["name"] == entry["tag"]]
                kind = self.by_name.get(tags[0]["type"], {}) if tags else {}
                cases = {variant["case"] for variant in entry["variants"]}
                if kind.get("meta-type") != "enum" or not cases <= set(kind["values"]):
                    found.append(f"{entry['name']} has no enum for its tag {entry['tag']}")
        return found

    def request(self, message):
        """Complaints about a message as it is sent."""
        if not isinstance(message, dict):
            return ["the message is no object"]
        bad = [f"member {key} of the message" for key in message
               if key not in ("execute", "exec-oob", "arguments", "id")]
        verbs = [key for key in ("execute", "exec-oob") if key in message]
        if len(verbs) != 1 or not isinstance(message[verbs[0]], str):
            return bad + ["the message names no command, or two"]
        name = message[verbs[0]]
        if verbs[0] == "exec-oob" and not self.by_name.get(name, {}).get("allow-oob"):
            bad.append(f"{name} cannot run out of band")
        return bad + self.command(name, message.get("arguments", {}))

    def command(self, name, arguments):
        """Complaints about a command and its arguments."""
        entry = self.by_name.get(name)
        if entry is None or entry["meta-type"] != "command":
            return [f"unknown command {name}"]
        self._mark(entry, name)
        self._open = name in OPEN
        return self._value(arguments, entry["arg-type"], name)

    def event(self, name, data):
        """Complaints about an event's data."""
        entry = self.by_name.get(name)
        if entry is None or entry["meta-type"] != "event":
            return [f"unknown event {name}"]
        self._open = False
        return self._value(data, entry["arg-type"], name)

    def returned(self, name, value):
        """Complaints about what a command returned."""
        self._open = False
        return self._value(value, self.by_name[name]["ret-type"], name)

    def _mark(self, thing, path):
        self.marked |= {(feature, path) for feature in thing.get("features", [])
                        if feature in ("deprecated", "unstable")}

    def _value(self, value, type_name, path):
        entry = self.by_name[type_name]
        check = {"object": self._object, "array": self._array, "enum": self._enum,
                 "alternate": self._alternate, "builtin": self._builtin}
        return check[entry["meta-type"]](value, entry, path)

    def _builtin(self, value, entry, path):
        kind = entry["json-type"]
        return [] if BUILTIN[kind](value) else [f"{path}: {value!r} is no {kind}"]

    def _enum(self, value, entry, path):
        if value not in entry["values"]:
            return [f"{path}: {value!r} is none of {entry['values']}"]
        for member in entry.get("members", []):
            if member["name"] == value:
                self._mark(member, f"{path}={value}")
        return []

    def _array(self, value, entry, path):
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no array"]
        return [complaint for number, item in enumerate(value)
                for complaint in self._value(item, entry["element-type"], f"{path}[{number}]")]

    def _alternate(self, value, entry, path):
        """The branches differ in their JSON type, so at most one can fit."""
        tries = []
        for branch in entry["members"]:
            tries.append(self._value(value, branch["type"], path))
            if not tries[-1]:
                return []
        # A branch that complains of something inside has the right type.
        inside = [bad for bad in tries if not bad[0].startswith(f"{path}: ")]
        return inside[0] if inside else [f"{path}: {value!r} is none of the alternatives"]

    def _members(self, value, entry):
        """{name: member} of the object, with those that its tag chooses."""
        members = {member["name"]: member for member in entry["members"]}
        if "tag" in entry:
            chosen = [variant["type"] for variant in entry["variants"]
                      if variant["case"] == value.get(entry["tag"])]
            for type_name in chosen:
                members.update(self._members(value, self.by_name[type_name]))
        return members

    def _object(self, value, entry, path):
        if not isinstance(value, dict):
            return [f"{path}: {value!r} is no object"]
        members, bad = self._members(value, entry), []
        for name, member in members.items():
            if name in value:
                self._mark(member, f"{path}.{name}")
                bad += self._value(value[name], member["type"], f"{path}.{name}")
            elif "default" not in member:
                bad.append(f"{path}.{name} is missing")
        if not self._open:
            bad += [f"{path}.{name} is unexpected" for name in value if name not in members]
        return bad
