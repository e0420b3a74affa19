# Makes a guest from an archive, and takes it back.
#
#   import.sh survey  PVE STATE VMID MAC...       what a plan must know; changes nothing
#   import.sh check   PVE STATE VMID TOOL [DRIVE BYTES]...    changes nothing
#   import.sh same    PVE STATE VMID TOOL MARK  whether the guest has that mark; changes nothing
#   import.sh VERB JOB ORDER PVE STATE FOLDER VMID TOOL ...   where VERB is
#     reserve  IDENTITY...                        takes the VMID for the job
#     stage    BYTES                              makes FOLDER for an archive of that length
#     restore  ARCHIVE IDENTITY... -- OPTION...   ARCHIVE - reads FOLDER/pipe and prints READY first
#     settle   OPTION...                          sets options; prints the configuration
#     made     IDENTITY...                        the guest is as planned: remembers that we made it
#     remove   IDENTITY...                        takes everything back
#     destroy  MARK POLICY                        destroys a guest that was replaced, if MARK is its
#
#   STATE/imports/VMID   JOB STAGE MARK: the job that makes, made or destroys the guest. STAGE is
#       reserved         the VMID is free, and no storage has a volume of it
#       started          a restore runs or was killed: whatever has this VMID may be ours
#       restored, made   MARK tells the guest that is ours
#       settling         as restored, but its options are being set: MARK is that of before
#       destroying       MARK tells the guest that is being destroyed
#   STATE/locks/VMID     locked by a restore and everything that it starts
#   FOLDER               what the job stages: archive, pipe, output
#
# A guest is destroyed only if it has the record's MARK. Of a restore that was killed there is none: then
# if it is the stub that a restore leaves that failed, or is locked by a restore, or has every IDENTITY
# in its configuration. Never one that runs or that a task is at work on, never one on another node.
#
# Volumes go that the guest's configuration names; only behind a killed restore, which names none, those
# go that have the VMID. Backup jobs, replication and high availability keep what they say of a VMID.
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

# volumes OPTION...: VMID and name of the guests' volumes on the active storages.
volumes() {
    stores=$(pvesm status --content images,rootdir) || fail 21 'Proxmox does not list its storages'
    for store in $(printf '%s\n' "$stores" | awk 'NR > 1 && $3 == "active" { print $1 }'); do
        listed=$(timeout 60 pvesm list "$store" "$@") || fail 21 "storage $store does not list its volumes"
        printf '%s\n' "$listed" | awk 'NR > 1 && NF > 4 && $3 ~ /^(images|rootdir)$/ { print $NF, $1 }'
    done
}

# A volume whose guest has lost its configuration may be all that is left of that guest.
demand_unused() {
    found=$(volumes --vmid "$vmid") || exit
    [ -z "$found" ] ||
        fail 1 "VM $vmid (already exists as the volume ${found#* }, which no VM uses)"
}

# Where it is if it is a guest of this node and of the kind that $tool manages.
own_config() {
    case $tool in qm) kind=qemu-server ;; *) kind=lxc ;; esac
    printf '%s\n' "$pve/nodes/$node/$kind/$vmid.conf"
}

# A configuration without description and sections.
entries() { sed '/^\[/,$d; /^#/d; /^[[:space:]]*$/d' "$1"; }

# What tells a guest from another one that has its VMID later. A guest that is about to be destroyed
# loses its lock and its protection; a
# snapshot changes its parent.
mark_of() {
    mark=$(entries "$1" | sed -n 's/^vmgenid:[[:space:]]*//p')
    case $mark in
    '' | 0 | 1) entries "$1" | grep -vE '^(lock|protection|parent):' | sha256sum | cut -d ' ' -f 1 ;;
    *) printf '%s\n' "$mark" ;;
    esac
}

read_record() {
    owner='' stage='' made_mark=''
    [ ! -f "$record" ] || read -r owner stage made_mark <"$record"
}
write_record() {
    mkdir -p "${record%/*}" && printf '%s %s %s\n' "$job" "$1" "${2-}" >"$record.new" && sync "$record.new" &&
        mv -f "$record.new" "$record" || fail 1 "cannot write $record"
    stage=$1 made_mark=${2-}
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

is_just() { [ "$(entries "$2")" = "$1" ]; }
is_locked_by() { entries "$2" | grep -qx "lock: $1"; }
is_marked() { [ "$(mark_of "$1")" = "$made_mark" ]; }
# Of a destruction that was killed this is left, and nothing else.
is_destroyed() { is_just 'lock: destroyed' "$1"; }
# Volumes of these are named nowhere.
is_unfinished() {
    [ "$owner $stage" = "$job started" ] || return 1
    for lines in '' 'memory: 128' 'lock: destroyed'; do ! is_just "$lines" "$1" || return 0; done
    is_locked_by create "$1"
}

# ours CONFIG IDENTITY... [-- ...]
ours() {
    case $stage in
    started) is_unfinished "$1" || is_known "$@" ;;
    settling) is_marked "$1" || is_known "$@" ;;
    destroying) is_marked "$1" || is_destroyed "$1" ;;
    *) is_marked "$1" ;;
    esac
}

# An IDENTITY is a whole line, a property of a line, or the value of a property.
is_known() {
    told=$(entries "$1" | sed 's/^\([^:]*\):[[:space:]]*/\1: /; s/[[:space:]]*$//; p
        s/^[^:]*: //; s/,/\n/g; p; s/[^\n]*=//g')
    shift
    known=1
    for identity; do
        [ "$identity" != -- ] || break
        printf '%s\n' "$told" | grep -qixF -e "$identity" || return 1
        known=0
    done
    return "$known"
}

demand_off() {
    status=$("$tool" status "$vmid" 2>&1) || fail 21 "Proxmox does not tell whether VM $vmid runs: $status"
    case $status in
    *stopped*) ;;
    *) fail 21 "VM $vmid runs ($status): it is not removed" ;;
    esac
}

# All that a restore of ours starts holds the lock that we have now.
demand_idle() {
    tasks=$(timeout 60 pvesh get "/nodes/$node/tasks" --source active --output-format json) ||
        fail 21 "Proxmox does not tell what is at work on VM $vmid"
    ! printf '%s\n' "$tasks" | grep -qE "\"id\": *\"$vmid\"" ||
        fail 21 "a task of somebody else is at work on VM $vmid"
}

# destroy_guest CONFIG: any lock but that of a restore, or of a destruction of ours, is somebody's who is
# at work on it; Proxmox refuses then.
destroy_guest() {
    demand_idle
    demand_off
    unreferenced=0
    if is_unfinished "$1"; then
        unreferenced=1
    elif ! is_destroyed "$1"; then
        write_record destroying "$(mark_of "$1")"
    fi
    if is_locked_by create "$1" || is_destroyed "$1"; then
        "$tool" unlock "$vmid" >/dev/null || exit 1
    fi
    if entries "$1" | grep -qx 'protection: 1'; then
        "$tool" set "$vmid" --protection 0 >/dev/null || exit 1
    fi
    why=$("$tool" destroy "$vmid" --destroy-unreferenced-disks "$unreferenced" 2>&1) ||
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
    found=$(volumes) || exit
    [ -z "$found" ] || printf '%s\n' "$found" | sort -u -k 1,1 | sed 's/^/volume /'
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
    demand_unused
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
    demand_free
    write_record started
    if restore_from "$@"; then
        write_record restored "$(mark_of "$(own_config)")"
    else
        # From now on a guest with this VMID may be one that somebody else has restored.
        (clear "$@") && write_record reserved
        exit 1
    fi
}

# restore_from IDENTITY... -- OPTION...
restore_from() {
    while [ "$1" != -- ]; do shift; done
    shift
    if [ "$archive" != - ]; then
        run_tool "$@" 2>&1
        return
    fi
    mkdir -p "${folder%/*}" && mkdir -p -m 700 "$folder" && rm -f "$folder/pipe" &&
        mkfifo -m 600 "$folder/pipe" && : >"$folder/output" || return 1
    printf 'READY\n'
    run_tool "$@" <"$folder/pipe" >>"$folder/output" 2>"$folder/errors" && return
    {
        grep -E '^(vma|tar): ' "$folder/output" | tail -n 1
        tail -n 2 "$folder/errors"
    } >&2
    return 1
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
    if [ $# -gt 0 ]; then
        case $stage in restored | settling) write_record settling "$made_mark" ;; esac
        "$tool" set "$vmid" "$@" >/dev/null || exit 1
        write_record restored "$(mark_of "$config")"
    fi
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
    read_record
    if ! config_of "$vmid" >/dev/null; then
        [ "$owner $stage" != "$job destroying" ] || rm -f -- "$record"
        return
    fi
    if [ "$owner $stage $made_mark" != "$job destroying $1" ] || ! is_destroyed "$config"; then
        demand_mark "$1"
        # Even that of a restore is somebody's here: this job has not made the guest.
        lock=$(entries "$config" | sed -n 's/^lock:[[:space:]]*//p')
        [ -z "$lock" ] || fail 21 "VM $vmid is locked ($lock): it is not removed"
        case $2 in
        refresh-copy)
            case "$stage $made_mark" in
            "made $1" | "destroying $1") ;;
            *) fail 1 "VM $vmid is not the one that was to be replaced any more: it is kept" ;;
            esac
            ;;
        *)
            ! entries "$config" | grep -qx 'protection: 1' ||
                fail 1 "VM $vmid is protected against removal (protection mode enabled)"
            ;;
        esac
    fi
    destroy_guest "$config"
    rm -f -- "$record"
}

# demand_mark MARK: an edit of a container, or of a machine without vmgenid, changes its mark, too.
demand_mark() {
    config=$(own_config)
    [ -e "$config" ] && [ "$(mark_of "$config")" = "$1" ] ||
        fail 1 "VM $vmid is not the one that was to be replaced any more: it is kept"
}

# same PVE STATE VMID TOOL MARK
same() {
    pve=$1 vmid=$3 tool=$4
    demand_cluster
    demand_mark "$5"
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
survey | check | same) "$command" "$@" ;;
reserve | stage | restore | settle | made | remove | destroy)
    take_turn "$1" "$2"
    job=$1 pve=$3 state=$4 folder=$5 vmid=$6 tool=$7 record=$4/imports/$6
    shift 7
    demand_cluster
    "$command" "$@"
    ;;
esac
