# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # variables of the caller
#
# libvirt.sh: libvirt's QEMU driver with our emulator as its <emulator>, for scripts/clients, which
# sources this.  The driver runs inside virsh (qemu:///embed), below a folder of its own: no daemon,
# nothing of the machine's own libvirt is touched.  Every virsh is a new driver that finds the VM
# running and connects to its monitor again.
#
# Left out, because the process that libvirt started is the proxy, and libvirt looks its pid up in
# /proc: the times of dominfo, vcpuinfo and domstats, and dommemstat's rss.

virsh_here() {
    # Without a level of its own each virsh would print the driver's warnings, which name pids.
    # (At its end an embedded driver may crash in virsh, after the work: that is not our subject.)
    LIBVIRT_LOG_OUTPUTS="3:file:$run/libvirt.log" LC_ALL=C \
        timeout 60 virsh -q -c "qemu:///embed?root=$run/libvirt" "$@"
}

# step WORD...: one virsh command; a refusal is a result like any other.
step() {
    say "== virsh $*"
    virsh_here "$@" 2>&1 | sed -E -e 's/\r/\n/g' -e '/CPU time/d' -e '/^Segmentation fault/d'
}
# must WORD...: one that has to succeed on both sides.
must() {
    say "== virsh $*"
    virsh_here "$@" 2>&1 || {
        say "virsh $* failed" >&2
        tail -n 20 "$run"/libvirt/log/qemu/vm.log "$run/libvirt.log" >&2
        return 1
    }
}

# The end of QEMU may reach libvirt before its own command has: then destroy says "not running".
destroy() {
    virsh_here destroy vm >/dev/null 2>&1
    must domstate vm
}

libvirt_prepare() {
    command -v virsh >/dev/null || absent 'not installed'
    mkdir -p "$run/libvirt/etc"
    {
        printf '%s = "none"\n' security_driver
        printf '%s = 0\n' dynamic_ownership remember_owner
        printf '%s = []\n' namespaces cgroup_controllers
        printf '%s = "file"\n' stdio_handler
        [ "$(id -u)" != 0 ] || printf '%s = "root"\n' user group
    } >"$run/libvirt/etc/qemu.conf"
    virsh_here uri >"$run/uri" 2>&1 || {
        grep -qi 'no connection driver' "$run/uri" && absent 'not installed (its QEMU driver)'
        absent "does not work here: $(tail -n1 "$run/uri")"
    }
}

client_libvirt_probe() {
    libvirt_prepare
    must domcapabilities --emulatorbin "$emulator" --virttype qemu || return 1
    must domcapabilities --emulatorbin "$emulator" --virttype qemu --machine q35 || return 1
    say '== what it noted of this QEMU'
    sed -E '/<(qemuctime|selfctime|selfvers)>/d' "$run"/libvirt/cache/qemu/capabilities/*.xml
}

disk_xml() {
    say "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='$run/$1.qcow2'/><target dev='$2' bus='$3'/></disk>"
}

guest_xml() {
    cat <<END
<domain type='qemu'>
  <name>vm</name>
  <uuid>5f1ab4a8-1111-4c4e-9d0e-0123456789ab</uuid>
  <memory unit='MiB'>64</memory>
  <currentMemory unit='MiB'>48</currentMemory>
  <vcpu current='1'>2</vcpu>
  <iothreads>1</iothreads>
  <os><type arch='x86_64' machine='$1'>hvm</type></os>
  <features><acpi/><apic/></features>
  <on_reboot>restart</on_reboot>
  <devices>
    <emulator>$emulator</emulator>
    $(disk_xml a vda virtio)
    $(disk_xml b sda scsi)
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
    <controller type='scsi' model='virtio-scsi'/>
    <controller type='usb' model='qemu-xhci'/>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/></interface>
    <graphics type='vnc' autoport='yes' listen='127.0.0.1'/>
    <video><model type='vga'/></video>
    <input type='tablet' bus='usb'/>
    <memballoon model='virtio'/>
    <watchdog model='i6300esb' action='reset'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <panic model='isa'/>
  </devices>
</domain>
END
}

monitor_commands() {
    for mc_name in query-status query-name query-version query-block query-jobs no-such-command; do
        step qemu-monitor-command vm "{\"execute\":\"$mc_name\"}"
    done
    step qemu-monitor-command --hmp vm 'info block -n'
}

queries() {
    for q_command in domstate dominfo domblklist "domblkinfo --all" domblkerror domjobinfo \
        vncdisplay "domdisplay" "iothreadinfo" vcpucount "domblkstat vda" \
        "domiflist" "guestinfo" "domfsinfo" "qemu-agent-command"; do
        # shellcheck disable=SC2086 # a command and its options
        set -- $q_command
        q_name=$1
        shift
        step "$q_name" vm "$@"
    done
}

changes() {
    must suspend vm && must resume vm || return 1
    must setmem vm 40M --live
    step setvcpus vm 2 --live
    step iothreadadd vm 7
    step blkdeviotune vm vda --total-bytes-sec 1000000 --live
    step blkdeviotune vm vda --live
    step attach-disk vm "$run/c.qcow2" vdb --targetbus virtio --subdriver qcow2 --live
    step attach-disk vm "$run/d.qcow2" sdc --targetbus scsi --subdriver qcow2 --live
    step change-media vm sdb "$run/cd.iso" --insert --live
    step change-media vm sdb --eject --live
    step domif-setlink vm 52:54:00:12:34:56 down
    step send-key vm KEY_ENTER
    step inject-nmi vm
    step reset vm
    step screenshot vm "$run/screen"
    step blockresize vm vdb 32M
    step domblklist vm --details
}

block_jobs() {
    must snapshot-create-as vm one --disk-only --atomic --no-metadata \
        --diskspec "vda,file=$run/a1.qcow2" --diskspec "sda,file=$run/b1.qcow2" || return 1
    must snapshot-create-as vm two --disk-only --no-metadata --diskspec "vda,file=$run/a2.qcow2" \
        --diskspec sda,snapshot=no || return 1
    step domblklist vm
    # In the middle of the chain, then the active layer.
    must blockcommit vm vda --top "$run/a1.qcow2" --base "$run/a.qcow2" --wait || return 1
    must blockcommit vm vda --active --pivot --wait || return 1
    must blockpull vm sda --wait || return 1
    must blockcopy vm sda "$run/b2.qcow2" --format qcow2 --transient-job --wait --pivot || return 1
    step domblklist vm
    step blockjob vm vda --info
    step checkpoint-create-as vm check1 --diskspec vda
    step checkpoint-list vm
    # A backup that lasts until it is ended; the dump waits for that, which virsh alone does not.
    say "<domainbackup mode='pull'><server transport='unix' socket='$run/nbd.sock'/>
        </domainbackup>" >"$run/backup.xml"
    must backup-begin vm "$run/backup.xml" || return 1
    must "domjobabort vm; dump vm $run/core --memory-only" || return 1
    step qemu-monitor-command vm '{"execute":"query-named-block-nodes","arguments":{"flat":true}}'
}

# Memory goes through a descriptor that libvirt hands over.
memory() {
    must save vm "$run/saved" || return 1
    step domstate vm
    must restore "$run/saved" || return 1
    must snapshot-create-as vm three --memspec "file=$run/three.mem,snapshot=external" \
        --diskspec "vda,snapshot=external,file=$run/a3.qcow2" --diskspec sda,snapshot=no || return 1
    step snapshot-list vm --tree
    # An older libvirt refuses both.
    step snapshot-revert vm three
    step snapshot-delete vm three
    step domblklist vm
}

# A day of a VM.
client_libvirt_guest() {
    libvirt_prepare
    for disk in a b c d; do
        "$qemu_img" create -q -f qcow2 "$run/$disk.qcow2" 16M
    done
    truncate -s 2M "$run/cd.iso"
    guest_xml q35 >"$run/vm.xml"
    must define "$run/vm.xml" && must start vm --paused && must resume vm || return 1
    queries
    monitor_commands
    changes && block_jobs && memory || return 1
    destroy || return 1
    # Again, on what the disks have become.
    must start vm || return 1
    must managedsave vm || return 1
    must start vm || return 1
    step domstate vm --reason
    must shutdown vm --mode acpi
    destroy
    step undefine vm --snapshots-metadata --checkpoints-metadata
    step list --all
}
