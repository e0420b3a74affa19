# Opens and closes the export of a running VM; closes the export of one that is off.
#
#   export.sh open  JOB VM ORDER RUN UUID AGENT BACKUP_XML CHECKPOINT_XML
#   export.sh look  JOB VM UUID         the state of the VM; a guest that is still frozen is thawed
#   export.sh close JOB VM ORDER IMAGE_DIR complete|abandoned
#
# What an export leaves on the host, until it is closed:
#   RUN/drs-JOB.export     the mark of the export; holds the VM's UUID
#   RUN/drs-JOB.frozen     the guest's file systems are frozen by us
#   RUN/drs-JOB.*          XML files, sockets of qemu-nbd
#   */drs-JOB.sock         the NBD socket of the backup job
#   */drs-JOB.UUID.DISK.scratch   what the guest overwrites meanwhile, beside the disk
#   the checkpoint drs-JOB, which stays when the export ends complete
#
# Exit codes: 20 the VM does not run, 21 it is busy, or libvirt does not tell (the reason on standard
# error); a close that ends with another code than 0 has left the marks, for the next one.
command=$1 job=$2 vm=$3

# v SECONDS ARG...: virsh that cannot hang
v() {
    limit=$1
    shift
    timeout -k 5 "$limit" virsh -q "$@"
}

# The UUID of the VM named $vm, nothing when there is none. virsh itself would take "5" for an id.
find_vm() {
    listed=$(v 30 list --all --uuid --name) || return
    printf '%s\n' "$listed" | while read -r id name; do
        [ "$name" = "$vm" ] && printf '%s\n' "$id"
    done
    return 0
}

# A libvirt that does not answer says nothing of the VM: nothing may be taken for granted then, least
# of all that the VM is off.
unclear() {
    fail 21 "libvirt does not tell $1: ${2:-no answer in time}"
}

# Whether the VM runs.
runs() {
    if state=$(v 15 domstate "$1" 2>&1); then
        case $state in
        *running | *paused | *idle | *'in shutdown' | *pmsuspended) return 0 ;;
        *'shut off' | *crashed) return 1 ;;
        esac
    elif all=$(v 30 list --all --uuid) && ! printf '%s\n' "$all" | grep -qF "$1"; then
        return 1
    fi
    unclear 'whether the VM runs' "$state"
}

# Whether the backup job of the VM is one of DR Switch.
backup_is_ours() {
    if backup=$(v 15 backup-dumpxml "$1" 2>&1); then
        printf '%s\n' "$backup" | grep -q "/drs-[0-9a-f-]*\.[^'\"]*scratch"
        return
    fi
    case $backup in
    *'no domain backup job present'*) return 1 ;;
    esac
    unclear 'whose backup job the VM has' "$backup"
}

# ---------------------------------------------------------------- close

# thaw JOB UUID: only what that job froze
thaw() {
    [ -e "$run/drs-$1.frozen" ] || return 0
    if runs "$2"; then
        for attempt in 1 2 3; do
            if thawed=$(v 10 domfsthaw "$2" 2>&1); then
                rm -f "$run/drs-$1.frozen"
                return 0
            fi
        done
        printf 'cannot thaw the guest: %s\n' "$thawed" >&2
        return 1
    fi
    rm -f "$run/drs-$1.frozen"
}

# resume JOB UUID: a guest that was paused because the scratch file of that job was full
resume() {
    [ -e "$run/drs-$1.export" ] || return 0
    reason=$(v 15 domstate --reason "$2" 2>&1) || unclear 'whether the VM is paused' "$reason"
    case $reason in
    *paused*I/O*) v 15 resume "$2" || exit 1 ;;
    esac
}

end_backup_job() {
    backup_is_ours "$1" || return 0
    v 30 domjobabort "$1" || true
    for attempt in $(seq 100); do
        backup_is_ours "$1" || return 0
        sleep 0.1
    done
    fail 21 'its backup job does not end'
}

# end_servers JOB: the qemu-nbd processes whose socket is named after the job
end_servers() {
    for comm in /proc/[0-9]*/comm; do
        [ "$(cat "$comm" 2>/dev/null)" = qemu-nbd ] || continue
        if tr '\0' '\n' <"${comm%/comm}/cmdline" 2>/dev/null | grep -qF "/drs-$1."; then
            pid=${comm%/comm}
            kill "${pid#/proc/}" 2>/dev/null || true
        fi
    done
}

# The folders in which scratch files of this VM can lie.
scratch_folders() {
    printf '%s\n' "$2"
    [ -n "$1" ] || return 0
    disks=$(v 15 domblklist "$1" 2>&1 && v 15 domblklist --inactive "$1" 2>&1) ||
        unclear 'where the disks of the VM are' "$disks"
    printf '%s\n' "$disks" | sed -n 's|^ *[^ ]* *\(/.*\)/[^/]*$|\1|p' | sort -u
}

# drop_checkpoint UUID NAME
drop_checkpoint() {
    why=$(v 30 checkpoint-delete "$1" "$2" 2>&1) && return 0
    case $?,$why in
    124,* | 137,* | *'state change lock'*) unclear "whether the checkpoint $2 is gone" "$why" ;;
    esac
    runs "$1" && broken=running || broken=off
    v 30 checkpoint-delete "$1" "$2" --metadata >/dev/null 2>&1 || return 0
    [ "$broken" = off ] || return 0
    v 15 domblklist "$1" --inactive | sed -n 's|^ *[^ ]* *\(/.*\)$|\1|p' | while read -r image; do
        qemu-img bitmap --remove -- "$image" "$2" >/dev/null 2>&1
    done
    return 0
}

# drop_checkpoints UUID END
drop_checkpoints() {
    names=$(v 15 checkpoint-list --name "$1" 2>&1) || unclear 'the checkpoints of the VM' "$names"
    printf '%s\n' "$names" | while read -r name; do
        case $2,$name in
        complete,"drs-$job") ;;
        complete,drs-* | abandoned,"drs-$job") drop_checkpoint "$1" "$name" ;;
        esac
    done
}

# jobs_of UUID: every job of ours that left its mark on the VM
jobs_of() {
    printf '%s\n' "$job"
    for mark in "$run"/drs-*.export; do
        if [ -e "$mark" ] && [ "$(cat "$mark")" = "$1" ]; then
            mark=${mark##*/drs-}
            printf '%s\n' "${mark%.export}"
        fi
    done | grep -vxF "$job"
    return 0
}

# close_export UUID IMAGE_DIR END
close_export() {
    if [ -n "$1" ] && runs "$1"; then
        # A frozen guest comes first. One that is paused as well can thaw only when it runs again.
        for j in $(jobs_of "$1"); do thaw "$j" "$1"; done
        end_backup_job "$1"
        for j in $(jobs_of "$1"); do
            resume "$j" "$1"
            thaw "$j" "$1" || exit 1
        done
    fi
    end_servers "$job"
    folders=$(scratch_folders "$1" "$2") || exit
    printf '%s\n' "$folders" | while read -r folder; do
        rm -f -- "$folder/drs-$job."*.scratch
        [ -z "$1" ] || rm -f -- "$folder"/drs-*."$1".*.scratch
    done
    [ -z "$1" ] || drop_checkpoints "$1" "$3" || exit
    rm -f -- /var/lib/libvirt/qemu/domain-*/"drs-$job.sock"
    for j in $(jobs_of "$1"); do
        rm -rf -- "$run/drs-$j".*
    done
}

# ---------------------------------------------------------------- open

# A backup, migration or snapshot of somebody else makes the VM busy. Asked for before anything that
# takes libvirt's state lock: that would wait 30 s.
refuse_foreign_job() {
    info=$(v 15 domjobinfo "$1" 2>&1)
    rc=$?
    case $rc,$info in
    124,*) fail 21 'libvirt does not answer for this VM: something else holds it' ;;
    *'not running'*) fail 20 'the VM was stopped meanwhile' ;;
    0,*'Job type:'*None*) ;;
    0,*)
        operation=$(printf '%s\n' "$info" | sed -n 's/^Operation: *//p' | tr -d ' ')
        if [ "$operation" != Backup ] || ! backup_is_ours "$1"; then
            fail 21 "another program has a job on it (${operation:-unknown})"
        fi
        ;;
    *) fail 1 "$info" ;;
    esac
}

warn() {
    printf 'WARN %s: %s\n' "$1" "$(printf '%s' "${2:-no answer in time}" | sed 's/^error: //' | tr '\n' ' ')"
}

# freeze UUID AGENT: sets $level. A Windows guest may take a minute, and goes on freezing when nobody
# waits for it any more: what could not be frozen must be thawed for certain.
freeze() {
    level=crash
    [ "$2" = yes ] || return 0
    if ! why=$(v 10 qemu-agent-command "$1" '{"execute":"guest-ping"}' --timeout 5 2>&1); then
        warn "the guest agent does not answer" "$why"
        return 0
    fi
    : >"$run/drs-$job.frozen" || return 0
    if why=$(v 60 domfsfreeze "$1" 2>&1); then
        level=file_system
    else
        warn "the guest agent could not freeze the file systems" "$why"
        thaw "$job" "$1" || exit 1
    fi
}

# begin UUID CHECKPOINT_XML
begin() {
    if [ -n "$2" ]; then
        if why=$(v 45 backup-begin "$1" "$files/backup.xml" "$files/checkpoint.xml" 2>&1); then
            printf 'CHECKPOINT drs-%s\n' "$job"
            return 0
        fi
        case $why in
        *'state change lock'*) fail 21 "$why" ;;
        esac
        warn "no mark for later incremental backups" "$why"
    fi
    why=$(v 45 backup-begin "$1" "$files/backup.xml" 2>&1) || fail 1 "$why"
}

# open_export UUID AGENT BACKUP_XML CHECKPOINT_XML
open_export() {
    uuid=$1
    close_export "$uuid" "$run" abandoned
    trap take_back EXIT
    trap 'exit 1' HUP INT TERM PIPE
    printf '%s\n' "$uuid" >"$run/drs-$job.export" || exit 1
    files=$(mktemp -d "$run/drs-$job.XXXXXX") || exit 1
    printf '%s' "$3" >"$files/backup.xml"
    printf '%s' "$4" >"$files/checkpoint.xml"
    freeze "$uuid" "$2"
    at=$(date +%s%3N)
    begin "$uuid" "$4"
    if [ "$level" = file_system ]; then
        thaw "$job" "$uuid" || exit 1
        case $thawed in
        *' 0 '*) level=crash; warn 'the guest thawed by itself before the backup began' "$thawed" ;;
        esac
    fi
    printf 'AT %s\nLEVEL %s\n' "$at" "$level"
}

# An open that fails takes back at once what it made; what it cannot is marked for the next close.
take_back() {
    code=$?
    trap '' HUP PIPE
    [ "$code" = 0 ] || (close_export "$uuid" "$run" abandoned)
    [ -z "${files:-}" ] || rm -rf "$files"
    exit "$code"
}

case $command in
open)
    run=$5
    take_turn "$job" "$4"
    refuse_foreign_job "$6"
    open_export "$6" "$7" "$8" "$9"
    ;;
look)
    run=$(runtime_folder)
    thaw "$job" "$4" || exit 1
    v 60 domstate --reason "$4"
    ;;
close)
    run=$(runtime_folder)
    take_turn "$job" "$4"
    uuid=$(find_vm) || exit 1
    close_export "$uuid" "$5" "$6"
    ;;
esac
