# Makes a guest from an archive, and takes it back.
#
#   import.sh survey  PVE STATE VMID MAC...       what a plan must know; changes nothing
#   import.sh check   PVE STATE VMID TOOL [DRIVE BYTES]...    changes nothing
#   import.sh VERB JOB ORDER PVE STATE FOLDER VMID TOOL ...   where VERB is
#     reserve  IDENTITY...                        takes the VMID for the job
#     stage    BYTES                              makes FOLDER for an archive of that length
#     restore  ARCHIVE IDENTITY... -- OPTION...   ARCHIVE - reads FOLDER/pipe and prints READY first
#     settle   OPTION...                          sets options; prints the configuration
#     made     IDENTITY...                        the guest is as planned: remembers that we made it
#     remove   IDENTITY...                        takes everything back
#     destroy  MARK POLICY                        destroys a guest that was replaced, if MARK is its
#
#   STATE/imports/VMID   JOB STAGE MARK: the job that makes or made the guest. STAGE is reserved, started
#                        (whatever has this VMID may be ours), or made; then MARK tells that guest
#   STATE/locks/VMID     locked by a restore and everything that it starts
#   FOLDER               what the job stages: archive, pipe, output
#
# A guest is destroyed only if the record says that this job began to make it, and if it is the stub that
# a restore leaves that failed, or is locked by a restore that was killed, or has every IDENTITY in its
# configuration. Never one that runs, and never one that is on another node.
#
# Exit code 21: busy, or the guest runs (the reason on standard error).
umask 022
export LVM_SUPPRESS_FD_WARNINGS=1
node=$(uname -n)
node=${node%%.*}
command=$1
shift

# Where the configuration of a guest is, on whatever node of the cluster.
config_of() {
    for found in "$pve"/nodes/*/qemu-server/"$1".conf "$pve"/nodes/*/lxc/"$1".conf; do
        [ ! -e "$found" ] || { printf '%s\n' "$found" && return; }
    done
    return 1
}

# Without its cluster's file system a node seems to have no guest at all.
demand_cluster() {
    [ -d "$pve/nodes/$node" ] || fail 21 "the cluster file system $pve of node $node is not there"
}

demand_free() {
    found=$(config_of "$vmid") || return 0
    found=${found#"$pve"/nodes/}
    fail 1 "VM $vmid (already exists on node ${found%%/*})"
}

# Where it is if it is a guest of this node and of the kind that $tool manages.
own_config() {
    case $tool in qm) kind=qemu-server ;; *) kind=lxc ;; esac
    printf '%s\n' "$pve/nodes/$node/$kind/$vmid.conf"
}

# A configuration without description and sections.
entries() { sed '/^\[/,$d; /^#/d; /^[[:space:]]*$/d' "$1"; }

# What tells a guest from another one that has its VMID later.
mark_of() {
    mark=$(entries "$1" | sed -n 's/^vmgenid:[[:space:]]*//p')
    case $mark in
    '' | 0 | 1) entries "$1" | sha256sum | cut -d ' ' -f 1 ;;
    *) printf '%s\n' "$mark" ;;
    esac
}

read_record() {
    owner='' stage='' made_mark=''
    [ ! -f "$record" ] || read -r owner stage made_mark <"$record"
}
write_record() {
    printf '%s %s %s\n' "$job" "$1" "${2-}" >"$record.new" && sync "$record.new" &&
        mv -f "$record.new" "$record" || fail 1 "cannot write $record"
    stage=$1
}
demand_record() {
    read_record
    [ "$owner" = "$job" ] || fail 21 "VMID $vmid is not reserved for this job"
}

# Nothing is restored into this VMID while we have its lock.
alone() {
    exec 7>>"$state/locks/$vmid" && flock -w "$1" 7 || fail 21 "a restore of VM $vmid still runs"
}

# ---------------------------------------------------------------- destroying what is ours

is_stub() { [ "$(entries "$1")" = 'memory: 128' ]; }

# ours CONFIG IDENTITY... [-- ...]
ours() { is_stub "$1" || entries "$1" | grep -qx 'lock: create' || is_known "$@"; }

is_known() {
    config=$1
    shift
    told=1
    for identity; do
        [ "$identity" != -- ] || break
        entries "$config" | grep -qiF -e "$identity" || return 1
        told=0
    done
    return "$told"
}

demand_off() {
    status=$("$tool" status "$vmid" 2>&1) || fail 21 "Proxmox does not tell whether VM $vmid runs: $status"
    case $status in
    *stopped*) ;;
    *) fail 21 "VM $vmid runs ($status): it is not removed" ;;
    esac
}

# destroy_guest CONFIG: any lock but that of a restore is somebody's who is at work on it; Proxmox
# refuses then.
destroy_guest() {
    demand_off
    if entries "$1" | grep -qx 'lock: create'; then "$tool" unlock "$vmid" >/dev/null || exit 1; fi
    if entries "$1" | grep -qx 'protection: 1'; then
        "$tool" set "$vmid" --protection 0 >/dev/null || exit 1
    fi
    why=$("$tool" destroy "$vmid" --purge 1 --destroy-unreferenced-disks 1 2>&1) ||
        fail 1 "VM $vmid cannot be destroyed: $why"
    ! config_of "$vmid" >/dev/null || fail 1 "VM $vmid is still there after it was destroyed"
}

# clear IDENTITY...: whatever this job has made under the VMID.
clear() {
    case $stage in '' | reserved) return 0 ;; esac
    own=$(own_config)
    if [ -e "$own" ]; then
        ! ours "$own" "$@" || destroy_guest "$own"
    elif elsewhere=$(config_of "$vmid") && is_known "$elsewhere" "$@"; then
        fail 21 "VM $vmid was moved to another node (${elsewhere#"$pve"/nodes/}): it is not removed"
    fi
}

# ---------------------------------------------------------------- verbs

survey() {
    pve=$1 state=$2 vmid=$3
    shift 3
    demand_cluster
    for record in "$state"/imports/*; do
        [ -f "$record" ] || continue
        case ${record##*/} in *[!0-9]*) continue ;; esac
        printf 'record %s %s\n' "${record##*/}" "$(cat "$record")"
    done
    if config=$(config_of "$vmid"); then printf 'mark %s\n' "$(mark_of "$config")"; fi
    for config in "$pve"/nodes/*/*/*.conf; do printf 'guest %s\n' "$config"; done
    for mac; do
        grep -liF -e "$mac" "$pve"/nodes/*/*/*.conf 2>/dev/null | sed 's/^/twin /'
    done
    return 0
}

reserve() {
    mkdir -p -m 700 "$state" && mkdir -p "$state/imports" "$state/locks" || exit 1
    exec 8>>"$state/locks/reserve" && flock -w 60 8 || fail 21 'another VMID is being reserved'
    read_record
    case $owner in
    "$job")
        alone 60
        clear "$@"
        ;;
    '') ;;
    *)
        # A job that lives writes its record, or has its guest there, within a day.
        if [ "$stage" != made ] && [ -n "$(find "$record" -mmin -1440)" ]; then
            fail 21 "job $owner is making a VM with VMID $vmid"
        fi
        ;;
    esac
    demand_free
    write_record reserved
}

stage() {
    demand_record
    mkdir -p "${folder%/*}" && mkdir -p -m 700 "$folder" || exit 1
    free=$(df -B1 --output=avail -- "$folder" | tail -n 1 | tr -d ' ')
    there=$(du -s -B1 -- "$folder" | cut -f 1)
    [ "$((free + there))" -ge "$1" ] ||
        fail 1 "No space left on device: $folder has $free bytes free, the archive takes $1"
}

restore() {
    archive=$1
    shift
    demand_record
    alone 60
    clear "$@"
    while [ "$1" != -- ]; do shift; done
    shift
    demand_free
    write_record started
    if [ "$archive" != - ]; then
        run_tool "$@" 2>&1 || exit 1
        return
    fi
    mkdir -p "${folder%/*}" && mkdir -p -m 700 "$folder" && rm -f "$folder/pipe" &&
        mkfifo -m 600 "$folder/pipe" && : >"$folder/output" || exit 1
    printf 'READY\n'
    run_tool "$@" <"$folder/pipe" >>"$folder/output" 2>"$folder/errors" && return
    {
        grep -E '^(vma|tar): ' "$folder/output" | tail -n 1
        tail -n 2 "$folder/errors"
    } >&2
    exit 1
}

# Its exit code means nothing but failure.
run_tool() {
    case $tool in
    qm) qmrestore "$archive" "$vmid" "$@" ;;
    *) pct restore "$vmid" "$archive" "$@" ;;
    esac
}

settle() {
    demand_record
    alone 60
    config=$(own_config)
    [ -e "$config" ] || fail 1 "VM $vmid is not there"
    ! entries "$config" | grep '^lock:' >&2 || fail 1 "VM $vmid was not restored to its end"
    [ $# -eq 0 ] || "$tool" set "$vmid" "$@" >/dev/null || exit 1
    entries "$config"
}

made() {
    demand_record
    config=$(own_config)
    [ -e "$config" ] && ours "$config" "$@" || fail 1 "VM $vmid is not what was restored"
    write_record made "$(mark_of "$config")"
    rm -rf -- "$folder"
}

remove() {
    read_record
    if [ "$owner" = "$job" ]; then
        alone 60
        clear "$@"
        rm -f -- "$record"
    fi
    rm -rf -- "$folder"
}

destroy() {
    config=$(own_config)
    [ -e "$config" ] && [ "$(mark_of "$config")" = "$1" ] || return 0
    read_record
    if [ "$2" = refresh-copy ]; then
        [ "$stage" = made ] && [ "$made_mark" = "$1" ] || return 0
    elif entries "$config" | grep -qx 'protection: 1'; then
        fail 1 "VM $vmid is protected against removal (protection mode enabled)"
    fi
    destroy_guest "$config"
    rm -f -- "$record"
}

# check PVE STATE VMID TOOL [DRIVE BYTES]...: volumes are there and have their size; what grew, grew by
# 4 MiB at most, as Proxmox allows. BYTES - takes any size.
check() {
    pve=$1 state=$2 vmid=$3 tool=$4
    shift 4
    config=$(own_config)
    [ -e "$config" ] || fail 1 "VM $vmid is not there"
    ! entries "$config" | grep '^lock:' || fail 1 "VM $vmid was not restored to its end"
    while [ $# -gt 0 ]; do
        volume=$(entries "$config" | sed -n "s/^$1:[[:space:]]*\([^,]*\).*/\1/p")
        [ -n "$volume" ] || fail 1 "VM $vmid has no $1"
        size=$(size_of "$volume") || exit 1
        [ "$2" = - ] || { [ "$size" -ge "$2" ] && [ "$size" -le "$(($2 + 4194304))" ]; } ||
            fail 1 "$1 ($volume) has $size bytes instead of $2"
        printf '%s: %s is sound\n' "$1" "$volume"
        shift 2
    done
}

# size_of VOLUME: and whether it is sound, as far as its format tells
size_of() {
    path=$(pvesm path "$1") || exit 1
    case $path in
    *.qcow2)
        qemu-img check -q -f qcow2 -- "$path" >&2 || fail 1 "$1 is damaged"
        qemu-img info -f qcow2 -- "$path" |
            sed -n 's/^virtual size:.*(\([0-9]*\) bytes).*/\1/p' | head -n 1
        ;;
    *)
        if [ -b "$path" ]; then
            blockdev --getsize64 "$path"
        elif [ -f "$path" ]; then
            stat -c %s -- "$path"
        elif [ -d "$path" ]; then
            printf '0\n'
        else
            listed "$1"
        fi
        ;;
    esac
}

# A volume that has no file while nobody uses it: what its storage says.
listed() {
    size=$(pvesm list "${1%%:*}" --vmid "$vmid" | awk -v id="$1" '$1 == id { print $4 }')
    [ -n "$size" ] || fail 1 "the storage has no volume $1"
    printf '%s\n' "$size"
}

case $command in
survey | check) "$command" "$@" ;;
reserve | stage | restore | settle | made | remove | destroy)
    take_turn "$1" "$2"
    job=$1 pve=$3 state=$4 folder=$5 vmid=$6 tool=$7 record=$4/imports/$6
    shift 7
    demand_cluster
    "$command" "$@"
    ;;
esac
