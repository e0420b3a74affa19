# What a run of vzdump leaves on a node, and how it is taken back. FOLDER is the job's, DUMP/JOB:
#
#   FOLDER/export    the mark: VMID BOOT_ID MILLISECONDS; written before vzdump begins
#   FOLDER/alive     open as descriptor 7 in everything that this vzdump started
#   FOLDER/pid       vzdump itself; its worker, in a session of its own, ends with it
#   FOLDER/output    what it printed
#   FOLDER/*         archive, .dat, .tmp, .log
#   lock: backup     in the guest's configuration, when vzdump was killed
#   file systems or a container that are frozen, a KVM that runs for the backup only: likewise
#
# LOCK is the file that vzdump locks while it runs, one for the node.
#
# Nothing else is touched: no archive or log elsewhere, no vzdump of somebody else, no other lock.
# Exit code 21: busy, or Proxmox does not tell (the reason on standard error); the mark stays then.
command=$1 job=$2 vmid=$3 folder=$4 lock_file=$5
shift 5

# vzdump does one backup at a time on a node.
node_is_free() {
    [ ! -e "$lock_file" ] || flock -n "$lock_file" true
}

admit() {
    node_is_free || fail 21 'another backup runs on this node, and vzdump does one at a time'
}

# ---------------------------------------------------------------- begin

# Leaves descriptor 7 open, for vzdump to inherit. An unprivileged container's tar must be able to
# reach the folder of the temporary files: it may be passed through, but not listed.
begin() {
    close_exports
    admit
    (umask 066 && mkdir -p "$folder") || exit 1
    exec 7>>"$folder/alive"
    : >"$folder/output"
    printf '%s %s %s\n' "$vmid" "$(cat /proc/sys/kernel/random/boot_id)" "$(date +%s%3N)" \
        >"$folder/export.new" && sync "$folder/export.new" &&
        mv -f "$folder/export.new" "$folder/export" || exit 1
}

# dump_of LIMIT OPTION...: vzdump with what every run says. LIMIT is in KiB/s, empty for none. A KVM that
# it starts may outlive it: that must inherit neither the turn (descriptor 6) nor the guard's lock (9).
dump_of() {
    limit=$1
    shift
    umask 022
    exec vzdump "$vmid" --mode snapshot --dumpdir "$folder" --tmpdir "$folder" \
        --prune-backups keep-all=1 --lockwait 0 ${limit:+--bwlimit "$limit"} "$@" 6>&- 9>&-
}

# When it began, and the end of what vzdump printed.
tell_log() {
    read -r id boot began <"$folder/export" || fail 1 'the job has no backup on this node'
    printf 'BEGAN %s\nLOG\n' "$began"
    tail -c 1048576 "$folder/output"
}

# ---------------------------------------------------------------- close

# The folder of this job, and those of other jobs that left their mark on the guest: a guest has one
# job at a time, so those have ended.
marked_folders() {
    printf '%s\n' "$folder"
    for mark in "${folder%/*}"/*/export; do
        if [ -f "$mark" ] && read -r id rest <"$mark" && [ "$id" = "$vmid" ]; then
            printf '%s\n' "${mark%/export}"
        fi
    done | grep -vxF "$folder"
    return 0
}

close_exports() {
    for f in $(marked_folders); do
        if [ -f "$f/export" ]; then close_export "$f"; else rmdir "$f" 2>/dev/null; fi
    done
    return 0
}

close_export() {
    end_vzdump "$1"
    if was_cut_short "$1"; then restore_guest "$1"; fi
    rm -rf -- "$1"
}

# living FOLDER: the processes of a vzdump, but not the guest's own.
living() {
    for open in /proc/[0-9]*/fd/7; do
        [ "$open" -ef "$1/alive" ] || continue
        pid=${open#/proc/}
        pid=${pid%%/*}
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
        kvm | qemu-system-* | swtpm*) ;;
        *) printf '%s\n' "$pid" ;;
        esac
    done
}

# ended FOLDER TENTHS: whether all of a vzdump ends in so many tenths of a second
ended() {
    for attempt in $(seq "$2"); do
        [ -n "$(living "$1")" ] || return 0
        sleep 0.1
    done
    [ -z "$(living "$1")" ]
}

# A vzdump that is asked to end cleans up behind itself. Its worker is asked only when it was left alone
# and does not notice: a second signal would stop it from cleaning up.
end_vzdump() {
    main=$(cat "$1/pid" 2>/dev/null)
    if [ -n "$main" ] && living "$1" | grep -qx "$main"; then
        kill -s TERM "$main" 2>/dev/null
        ended "$1" 600 && return 0
    fi
    ended "$1" 200 && return 0
    for signal in TERM KILL; do
        for pid in $(living "$1"); do kill -s "$signal" "$pid" 2>/dev/null; done
        ended "$1" 150 && return 0
    done
    fail 21 'vzdump does not end'
}

# Whether a run of vzdump was killed before it could clean up. After a power cut its output may be
# lost; then only the mark tells of it. Behind a mark that cannot be read nothing was begun.
was_cut_short() {
    read -r id boot began <"$1/export" && [ "$id" = "$vmid" ] && [ -n "$began" ] || return 1
    if grep -qE "^(INFO: Finished|ERROR:) Backup of VM $vmid " "$1/output" 2>/dev/null; then
        return 1
    fi
    grep -q "^INFO: Starting Backup of VM $vmid " "$1/output" 2>/dev/null ||
        [ "$boot" != "$(cat /proc/sys/kernel/random/boot_id)" ]
}

# Sets $tool (qm, pct or nothing) and $config.
find_guest() {
    for tool in qm pct; do
        config=$(timeout 30 "$tool" config "$vmid" 2>&1) && return 0
        case $config in
        *'does not exist'*) ;;
        *) fail 21 "Proxmox does not tell what $vmid is: ${config:-no answer in time}" ;;
        esac
    done
    tool=''
}

# Whether a vzdump of somebody else may be at the guest. One of a list of guests names none.
others_are_there() {
    node_is_free && return 1
    tasks=$(timeout 60 pvesh get "/nodes/$(uname -n | cut -d. -f1)/tasks" --source active --output-format json) ||
        return 0
    dumps=$(printf '%s\n' "$tasks" | sed 's/},{/}\n{/g' | grep '"type":"vzdump"' |
        sed 's/.*"id":"\([^"]*\)".*/\1/')
    [ -z "$dumps" ] || printf '%s\n' "$dumps" | grep -qx -e '' -e "$vmid"
}

# A vzdump that was killed gives its lock back only at its very end, behind its last open file: it is
# given a while, and somebody else's is told by that it stays.
others_stay() {
    for attempt in $(seq 50); do
        others_are_there || return 1
        sleep 0.2
    done
}

# restore_guest FOLDER: as it was before vzdump came.
restore_guest() {
    find_guest
    [ -n "$tool" ] || return 0
    [ "$tool" != qm ] || thaw "$1"
    if printf '%s\n' "$config" | grep -qx 'lock: backup'; then
        ! others_stay || fail 21 'another backup may be at work on this guest'
        why=$(timeout 60 "$tool" unlock "$vmid" 2>&1) || fail 1 "cannot unlock the guest: $why"
    fi
    case $tool in
    qm) switch_off "$1" ;;
    *) resume "$1" ;;
    esac
}

# Only what this vzdump froze. A guest that does not run has thawed.
thaw() {
    grep -q "guest-agent 'fs-freeze'" "$1/output" || return 0
    ! grep -q "guest-agent 'fs-thaw'" "$1/output" || return 0
    timeout 30 qm status "$vmid" | grep -q running || return 0
    why=$(timeout 90 qm guest cmd "$vmid" fsfreeze-thaw 2>&1) || fail 1 "cannot thaw the guest: $why"
}

# A container that this vzdump suspended; Proxmox resumes none that is locked.
resume() {
    grep -q '^INFO: suspending guest' "$1/output" || return 0
    ! grep -qE '^INFO: (resuming guest|guest is online again)' "$1/output" || return 0
    timeout 30 pct status "$vmid" | grep -q running || return 0
    why=$(timeout 90 pct resume "$vmid" 2>&1) || fail 1 "cannot resume the guest: $why"
}

# A KVM that vzdump had started, without letting it run, for a guest that was off.
switch_off() {
    grep -q '^INFO: starting kvm to execute backup task' "$1/output" || return 0
    timeout 30 qm status "$vmid" --verbose 2>/dev/null | grep -qx 'qmpstatus: prelaunch' || return 0
    why=$(timeout 90 qm stop "$vmid" 2>&1) || fail 1 "cannot stop the KVM of the backup: $why"
}
