# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # variables of the caller
#
# shell.sh: QMP by one-liners, for scripts/clients, which sources this: several commands in one
# write, the end of the input right after, and what comes back printed as it is.  Uses the VM and
# the folder of its caller ($run, $tcp, $emulator, with_vm, absent).

one_liner() {
    printf '{"execute":"qmp_capabilities"}%b' "$1"
    printf '{"execute":"query-status","id":1}%b{"execute": "query-name"}%b' "$1" "$1"
    printf "{'execute':'no-such-command','id':'mine'}%b" "$1"
    printf '{ "execute": "human-monitor-command", "arguments": {%b' "$1"
    printf '"command-line": "info version" } }%b' "$1"
    printf '{"execute":"stop"}%b{"execute":"query-commands"}%b' "$1" "$1"
    printf '{"execute":"query-kvm"}%b' "$1"
}

# Between the commands: a newline, nothing, "\r\n", "\r".
all_ends() {
    for ae_end in '\n' '' '\r\n' '\r'; do
        say "== end $ae_end"
        one_liner "$ae_end" | "$@" || return 1
    done
    say "== no newline at the end, no negotiation, garbage, and a word too few"
    printf '{"execute":"query-status"}' | "$@"
    printf 'info status\n{"execute":"qmp_capabilities"}{"execute":"query-status"}' | "$@"
    printf '{"execute":"qmp_capabilities"}{"execute":"query-status"' | "$@"
    "$@" </dev/null
}

socats() {
    all_ends socat -t5 - "UNIX-CONNECT:$run/qmp.sock"
    all_ends socat -t5 STDIO "TCP:$tcp"
}
client_socat() {
    command -v socat >/dev/null || absent 'not installed'
    with_vm socats
}

ncs() {
    all_ends nc -N -U "$run/qmp.sock"
    # shellcheck disable=SC2086 # host and port
    all_ends nc -N ${tcp%:*} ${tcp##*:}
}
client_nc() {
    command -v nc >/dev/null || absent 'not installed'
    nc -h 2>&1 | grep -q -- '-N' || absent 'not OpenBSD'"'"'s nc'
    with_vm ncs
}

# As libguestfs asks what a QEMU can do.
client_stdio() {
    printf '%s\n' '{ "execute": "qmp_capabilities" }' '{ "execute": "query-machines" }' \
        '{ "execute": "quit" }' |
        "$emulator" -display none -machine accel=kvm:tcg -qmp stdio || return 1
    printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}' \
        '{"execute":"quit"}' |
        "$emulator" -S -nodefaults -machine none -nographic -monitor none -serial none \
            -chardev stdio,id=c -mon chardev=c,mode=control
}
