# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# lib.sh: what the scripts share.  Sourced, never run; defines functions only, works in a plain sh
# under set -eu, and changes nothing on the machine but what packages_install says.
#
# Model: a cache (QMP_PROXY_CACHE, by default ${XDG_CACHE_HOME:-$HOME/.cache}/qmp-proxy) holds what
# was fetched and unpacked, one folder per thing.  A folder is complete when it is there: it is made
# under a temporary name and renamed, under a lock, so several callers may ask at once.
#
# Packages come from wherever this machine's own apt is set up to take them.

# What the project needs on Debian 12 to be built, to run its guests, and to be checked.
# shellcheck disable=SC2034 # used by those who source this
{
packages_build="gcc libc6-dev make pkg-config autoconf automake perl libevent-dev libjansson-dev
libxxhash-dev"
packages_run="qemu-system-x86 qemu-utils python3 cpio xz-utils"
packages_check="clang libclang-rt-dev libcmocka-dev valgrind shellcheck binutils ipxe-qemu strace"
}

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

cache_dir() {
    printf '%s\n' "${QMP_PROXY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/qmp-proxy}"
}

# cache_make NAME FUNCTION: prints the folder of NAME, which FUNCTION fills when it is not there yet
# (called with the temporary folder; its stdout goes to stderr).  Gives FUNCTION's exit status.
cache_make() {
    cm_dir=$(cache_dir)
    mkdir -p "$cm_dir"
    cm_dir=$(cd "$cm_dir" && pwd)
    if [ ! -d "$cm_dir/$1" ]; then
        (
            flock 9
            [ -d "$cm_dir/$1" ] && exit 0
            cm_tmp=$(mktemp -d "$cm_dir/.$1.XXXXXX")
            trap 'rm -rf "$cm_tmp"' EXIT
            trap 'exit 1' HUP INT TERM
            chmod 755 "$cm_tmp"
            "$2" "$cm_tmp" >&2 || exit $?
            mv -T "$cm_tmp" "$cm_dir/$1"
        ) 9>"$cm_dir/.$1.lock" || return $?
    fi
    printf '%s\n' "$cm_dir/$1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@"
    else
        warn "neither root nor sudo: cannot run $*"
        return 1
    fi
}

package_installed() {
    # shellcheck disable=SC2016 # a format of dpkg-query's own
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

# packages_install NAME...: asks apt only for what is missing.
packages_install() {
    pi_missing=
    for pi_name in "$@"; do
        package_installed "$pi_name" || pi_missing="$pi_missing $pi_name"
    done
    [ -n "$pi_missing" ] || return 0
    warn "installing:$pi_missing"
    # The package lists may be missing or old: only after a failure is a refresh worth its time.
    # shellcheck disable=SC2086 # a list
    apt_install $pi_missing && return 0
    # shellcheck disable=SC2086
    as_root apt-get -qq update >&2 </dev/null && apt_install $pi_missing
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "$@" >&2 </dev/null
}

# apt_sources SUITE NEW-SUITE DIR: copies this machine's source entries for SUITE (one-line and
# deb822, with their Signed-By) to DIR with the suite replaced.  False when there are none.
apt_sources() {
    mkdir -p "$3"
    for as_file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$as_file" ] || continue
        awk -v old="$1" -v new="$2" '
            $1 == "deb" {
                n = split($0, word); s = 2
                if (word[2] ~ /^\[/) { while (s <= n && word[s] !~ /\]$/) s++; s++ }
                s++                     # behind the options and the address
                if (word[s] != old) next
                word[s] = new; line = word[1]
                for (i = 2; i <= n; i++) line = line " " word[i]
                print line
            }' "$as_file"
    done >"$3/$2.list"
    for as_file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$as_file" ] || continue
        awk -v old="$1" -v new="$2" '
            function flush(    i) {
                if (use && on && deb) { for (i = 0; i < n; i++) print line[i]; print "" }
                n = use = deb = 0; on = 1; field = ""
            }
            BEGIN { on = 1 }
            /^[ \t]*$/ { flush(); next }
            /^#/ { next }
            /^[^ \t]/ { field = tolower($1) }
            {
                if (field == "suites:") {
                    for (i = 1; i <= NF; i++) if ($i == old) use = 1
                    if ($0 ~ /^[^ \t]/) line[n++] = "Suites: " new
                } else if (field == "types:") {
                    for (i = 1; i <= NF; i++) if ($i == "deb") deb = 1
                    if ($0 ~ /^[^ \t]/) line[n++] = "Types: deb"
                } else {
                    if (field == "enabled:" && tolower($2) ~ /^(no|false|0)$/) on = 0
                    line[n++] = $0
                }
            }
            END { flush() }' "$as_file"
    done >"$3/$2.sources"
    [ -s "$3/$2.list" ] || [ -s "$3/$2.sources" ]
}

# apt_private DIR: writes DIR/apt.conf, a configuration with lists, cache and sources (DIR/sources)
# of its own.  The rest of the machine's configuration still holds, a proxy or a mirror's password
# for one; the machine's hooks do not run and its lists do not change.
apt_private() {
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/sources" "$1/preferences"
    {
        printf 'Dir::State::lists "%s/lists";\n' "$1"
        printf 'Dir::Cache "%s/cache";\n' "$1"
        printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
        printf 'Dir::Etc::sourcelist "/dev/null";\n'
        printf 'Dir::Etc::sourceparts "%s/sources";\n' "$1"
        printf 'Dir::Etc::preferences "/dev/null";\n'
        printf 'Dir::Etc::preferencesparts "%s/preferences";\n' "$1"
        # What is fetched goes to a folder that only its owner may enter.
        printf 'APT::Sandbox::User "root";\n'
        printf 'APT::Update::Error-Mode "any";\n'
        printf 'Acquire::Languages "none";\n'
        printf 'Acquire::Retries "2";\nAcquire::http::Timeout "20";\n'
        printf '#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n'
        printf '#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n'
    } >"$1/apt.conf"
}

# apt_fetch CONFIG DIR NAME...: downloads .debs to DIR, not installing anything.  CONFIG is a file or
# "" for the machine's own configuration.
apt_fetch() {
    af_config=$1
    af_dir=$2
    shift 2
    mkdir -p "$af_dir"
    (
        cd "$af_dir" || exit 1
        # shellcheck disable=SC2086 # an option or nothing
        apt-get -qq ${af_config:+-c "$af_config"} -o APT::Sandbox::User=root download "$@" </dev/null
    )
}

now_ms() { date +%s%3N; }

# wait_for SECONDS COMMAND...: until the command succeeds; false when it does not in time.
wait_for() {
    wf_end=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$wf_end" ] || return 1
        sleep 0.05
    done
}

# process_end PID SECONDS: SIGTERM, a bounded wait, SIGKILL; true when SIGTERM was enough.
process_end() {
    kill -TERM "$1" 2>/dev/null || return 0
    wait_for "$2" process_gone "$1" && return 0
    kill -KILL "$1" 2>/dev/null
    return 1
}

# A zombie counts as gone: it only waits for its parent.
process_gone() {
    ! kill -0 "$1" 2>/dev/null || grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

# kvm_boots QEMU KERNEL INITRD DIR: whether KVM really runs a guest here, which a /dev/kvm that can
# be opened does not promise.  Takes a second where it does, up to ten where it does not.
kvm_boots() {
    [ -w /dev/kvm ] || return 1
    truncate -s 16M "$4/probe.raw"
    : >"$4/probe.serial"
    "$1" -accel kvm -m 256 -nodefaults -display none -no-reboot -kernel "$2" -initrd "$3" \
        -append 'console=ttyS0 quiet panic=-1' -serial "file:$4/probe.serial" \
        -drive "file=$4/probe.raw,format=raw,if=virtio" </dev/null >/dev/null 2>&1 &
    kb_pid=$!
    kb_status=1
    wait_for 10 kvm_settled $kb_pid "$4/probe.serial" &&
        grep -q '^counter ' "$4/probe.serial" && kb_status=0
    process_end $kb_pid 5 || true
    wait $kb_pid 2>/dev/null || true
    rm -f "$4/probe.raw" "$4/probe.serial"
    return $kb_status
}

kvm_settled() { process_gone "$1" || grep -q '^counter ' "$2"; }
