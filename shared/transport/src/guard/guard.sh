# The host guard: one job per VM, enforced on the host. POSIX sh, nothing installed; it needs
# flock(1) and setsid(1). Loaded as:  sh -c "$load" drs-guard "$guard" VERB JOB FENCE VM ...
#
# Files under the state directory:
#   vm/VM/gate      flock: decisions about the VM are made one at a time; the short commands of
#                   one claim share it
#   vm/VM/lock      flock: who has it has the VM; the command inherits it (descriptor 9)
#   vm/VM/fence     newest admitted fencing token, and the job that it was admitted for
#   vm/VM/holder    last owner of the lock: JOB FENCE STEP PID [ended]; the STEP of a hold is +hold
#   vm/VM/serve.PID a served command and its token; locked while it lives
#   job/JOB/STEP/   a detached command: boot, log, starts (one line each), exit (CODE | cancelled FENCE)
#   journal/VM      MILLISECONDS JOB STEP FENCE begin|end, one line each
#   reserve         space that is given up when a record must be written on a full disk
#
# Every answer is a line of its own that begins with the marker below: what a login shell's start-up
# files print before it does no harm.
set -u
umask 077
verb=$1 job=$2 fence=$3 vm=$4
shift 4
load='guard=$1; shift; eval "$guard"'

say() { printf '\ndrs-guard: %s\n' "$*"; }
answer() { say "$@"; exit 0; }
fail() { say FAIL "$@"; exit 70; }
# A program that is started takes as long as everything else here: none for what is there already.
folder() { [ -d "$1" ] || mkdir -p "$1"; }

state=${DRS_STATE_DIR:-/var/lib/drs-guard}
if ! { folder "$state" && [ -w "$state" ]; } 2>/dev/null; then
    state=${XDG_STATE_HOME:-${HOME:-/nonexistent}/.local/state}/drs-guard
fi
dir=$state/vm/$vm
this_boot=''
read -r this_boot </proc/sys/kernel/random/boot_id

# ---- records: a reader sees the old text or the new one, also after a power cut

swap_synced() {
    printf '%s\n' "$2" >"$1.$$" && sync "$1.$$" && mv -f "$1.$$" "$1" && sync "${1%/*}"
}
# A line of less than a sector over the beginning of a record: what is left behind it nobody reads.
overwrite_synced() { printf '%s\n' "$2" 1<>"$1" && sync "$1"; }
put() { somehow swap_synced "$@" || fail "cannot write $1 (is its disk full?)"; }
# Writes a record, if need be with the space of the reserve: what filled the disk can only be ended
# with records, and frees space when it ends.
somehow() { "$@" 2>/dev/null || { rm "$state/reserve" 2>/dev/null && "$@"; }; }
# Lays the reserve in when there is none. Random bytes, so that a file system that packs them has to
# keep the space as well.
lay_in() {
    [ ! -f "$state/reserve" ] || return 0
    dd if=/dev/urandom of="$state/reserve.$$" bs=4096 count=64 conv=fsync 2>/dev/null &&
        mv -f "$state/reserve.$$" "$state/reserve" || rm -f "$state/reserve.$$"
}
# The first end that is written is the end: linking fails when there is one.
remember() {
    printf '%s\n' "$1" >"$record/exit.$$" && sync "$record/exit.$$" || return 1
    ln "$record/exit.$$" "$record/exit" 2>/dev/null
    rm -f "$record/exit.$$"
    sync "$record"
}
stamp() {
    now=$(date +%s%3N)
    case $now in *[!0-9]* | ???????????) now=$(date +%s)000 ;; esac
}
journal() {
    stamp
    somehow note "$now $1 $2 $3 $4"
}
note() { printf '%s\n' "$1" >>"$state/journal/$vm"; }
# With the gate and the lock in hand, when nobody writes it: keeps the latest 1,000 of 2,000 lines.
cut_journal() {
    [ -f "$state/journal/$vm" ] && [ "$(wc -l <"$state/journal/$vm")" -gt 2000 ] || return 0
    tail -n 1000 "$state/journal/$vm" >"$dir/journal.$$" &&
        mv -f "$dir/journal.$$" "$state/journal/$vm" || rm -f "$dir/journal.$$"
}

# ---- the gate and the fence

gate() {
    folder "$dir" && folder "$state/journal" || fail "cannot write $state"
    command -v flock >/dev/null && command -v setsid >/dev/null ||
        fail "flock(1) or setsid(1) is missing on this host"
    exec 8>>"$dir/gate" && flock "$@" 8
}
# Refuses an older claim, and a token that was given twice to any job but the first; a fence that cannot
# be read refuses everything.
admit() {
    seen=0 seen_for=''
    if [ -f "$dir/fence" ]; then read -r seen seen_for <"$dir/fence"; fi
    [ "$fence" -gt "$seen" ] ||
        { [ "$fence" -eq "$seen" ] && [ "${seen_for:-$job}" = "$job" ]; } || answer STALE "$seen"
}
# Refuses as well while another job has the VM. To be called without the lock in hand.
admit_unless_taken() {
    admit
    holder
    [ "$h_job" = "$job" ] || flock -n -s "$dir/lock" true || answer BUSY "$h_job"
}
raise() {
    [ "$fence" -ne "$seen" ] || return 0
    [ "$seen" -gt 0 ] && overwrite_synced "$dir/fence" "$fence $job" 2>/dev/null ||
        put "$dir/fence" "$fence $job"
}

# For a claim that may work beside itself: the gate stays shared, so that no newer claim gets in.
# The first sight of a token needs the gate alone. Changing a lock is not atomic: look again.
enter() {
    gate -s
    admit_unless_taken
    if [ "$fence" -ne "$seen" ]; then
        flock 8
        admit_unless_taken
        raise
        flock -s 8
        admit_unless_taken
    fi
}

# ---- the lock

holder() {
    h_job='' h_fence=0 h_step='' h_pid='' h_ended=''
    if [ -f "$dir/holder" ]; then read -r h_job h_fence h_step h_pid h_ended <"$dir/holder"; fi
}
holds() { [ "$h_job" = "$job" ] && [ "$h_step" = "$1" ]; }
# Waits for the lock, so many tenths of a second.
await() {
    tries=$1
    until flock -n 9; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.1
    done
}
# Takes the lock. A hold of the same job gives way: it runs what it has for the case of its loss
# (at most 240 s) before it frees the VM.
lock() {
    exec 9>>"$dir/lock"
    holder
    flock -n 9 && return 0
    holds +hold || return 1
    kill -s TERM "$h_pid" 2>/dev/null
    await 800
}
# With the lock in hand: writes the end of an owner that was killed, and ends what an older claim
# serves.
settle() {
    holder
    if [ -n "$h_job" ] && [ -z "$h_ended" ]; then
        journal "$h_job" "$h_step" "$h_fence" end
        somehow tell_holder ' ended'
    fi
    for served in "$dir"/serve.*; do
        [ -f "$served" ] || continue
        if ! flock -n "$served" true; then
            [ "$(cat "$served")" -lt "$fence" ] || continue
            kill -s TERM "${served##*.}" 2>/dev/null
            flock "$served" true
        fi
        rm -f "$served"
    done
    cut_journal
}
# With the gate in hand, when nobody reads: the record is a line that is not over before its owner is.
begin() {
    journal "$job" "$step" "$fence" begin
    somehow new_holder "$job $fence $step $$" || fail "cannot write $dir/holder"
}
ended() {
    journal "$job" "$step" "$fence" end
    somehow tell_holder ' ended'
}
new_holder() { printf '%s' "$1" >"$dir/holder"; }
tell_holder() { printf '%s\n' "$1" >>"$dir/holder"; }

# Waits for one line of the worker (descriptor 3), at most $silence seconds: 0 when it came,
# $released when it was "release", anything else when the worker is gone. To be called with "$@": a
# trap that runs meanwhile sees the arguments of this function.
hear() {
    $clock sh -c 'read -r line || exit 1; [ "$line" != release ] || exit "$0"' "$released" \
        <&3 >/dev/null 2>&1 3<&- 7>&- 8>&- 9>&- &
    ear=$!
    wait "$ear"
}
listen_for() {
    silence=$1 released=10 ear=''
    clock=''
    if command -v timeout >/dev/null; then clock="timeout $silence"; fi
    exec 3<&0
}
deafen() { kill "$ear" 2>/dev/null; }

bounded() {
    limit=$1
    shift
    if command -v timeout >/dev/null; then timeout -k 5 "$limit" "$@"; else "$@"; fi
}
kill_group() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null; }

# ---- verbs

# hold SILENCE_SECONDS [AT_LOSS...]: has the VM until standard input says "release", ends, or brings
# no line for so long.
hold() {
    step=+hold
    listen_for "$1"
    shift
    gate
    admit
    if ! lock; then
        [ "$h_job" = "$job" ] && [ "$h_step" != +hold ] || answer BUSY "$h_job"
        raise
        answer ATTACHED
    fi
    settle
    raise
    trap : HUP INT PIPE
    begin
    lay_in
    say STARTED
    trap 'lost "$@"' TERM
    exec 8>&-
    heard=0
    while [ "$heard" -eq 0 ]; do
        hear "$@"
        heard=$?
    done
    [ "$heard" -eq "$released" ] || lost "$@"
    trap : TERM
    ended
    exec 9>&-
    answer RELEASED
}
lost() {
    trap : TERM
    deafen
    log=$dir/at_loss.log
    true 2>/dev/null >"$log" || log=/dev/null
    if [ $# -gt 0 ]; then bounded 240 "$@" </dev/null >"$log" 2>&1; fi
    ended
    exit 0
}

# start STEP COMMAND...: once, in a session of its own.
start() {
    gate
    admit
    tell_end
    if ! lock; then
        holds "$step" || answer BUSY "$h_job"
        raise
        answer ATTACHED
    fi
    # It may have ended while we went for the lock.
    tell_end
    settle
    raise
    folder "$record" || fail "cannot write $record"
    if [ -f "$record/exit" ]; then rm -f "$record/log" "$record/exit"; fi
    put "$record/boot" "$this_boot"
    # Returns when the runner has told its process id and closed the pipe.
    pid=$(setsid sh -c "$load" drs-guard "$guard" runner "$job" "$fence" "$vm" "$step" "$@" \
        </dev/null 2>>"$record/log" 8>&- &)
    case $pid in '' | *[!0-9]*) fail "the command could not be started: $pid" ;; esac
    answer STARTED
}
# How the command ended, and under which token when it was cancelled.
ending() { read -r end under <"$record/exit"; }
# What was cancelled may be started again, by a newer claim than the one that cancelled it.
tell_end() {
    [ -f "$record/exit" ] || return
    ending
    [ -z "$under" ] || [ "$fence" -le "$under" ] || return
    raise
    answer EXIT "$end"
}
runner() {
    trap : TERM HUP INT PIPE
    begin
    printf '%s %s\n' "$now" "$fence" >>"$record/starts"
    echo "$$"
    exec >>"$record/log" 2>&1
    "$@"
    somehow remember "$?"
    ended
}

status() {
    gate -s
    if [ ! -f "$record/exit" ]; then
        holder
        if holds "$step" && ! flock -n -s "$dir/lock" true; then answer RUNNING; fi
    fi
    # It may have ended between the two looks.
    if [ -f "$record/exit" ]; then
        ending
        answer EXIT "$end"
    fi
    [ -f "$record/boot" ] || answer UNKNOWN
    [ "$(cat "$record/boot")" = "$this_boot" ] || answer REBOOTED
    answer VANISHED
}

# log STEP FIRST_BYTE
log() {
    say LOG
    if [ -f "$record/log" ]; then tail -c "+$1" "$record/log" | head -c 65536; fi
}

cancel() {
    gate
    admit_unless_taken
    raise
    folder "$record" || fail "cannot write $record"
    put "$record/exit" "cancelled $fence"
    exec 9>>"$dir/lock"
    holder
    if holds "$step" && ! flock -n 9; then
        kill_group TERM "$h_pid"
        await 100 || kill_group KILL "$h_pid"
        await 50 || fail "process group $h_pid does not end"
        settle
    fi
    answer EXIT cancelled
}

# run LIMIT_SECONDS COMMAND...: with the gate in hand until it ends.
run() {
    trap : TERM HUP PIPE
    enter
    say RUN
    bounded "$@" 8>&-
    exit "$?"
}

# serve SILENCE_SECONDS COMMAND...: lives until standard input ends or brings no line for so long.
serve() {
    listen_for "$1"
    shift
    enter
    exec 7>>"$dir/serve.$$"
    flock 7
    echo "$fence" >&7 || fail "cannot write $dir/serve.$$ (is its disk full?)"
    exec 8>&-
    say SERVE
    setsid "$@" </dev/null 3<&- 7>&- &
    child=$!
    trap stop TERM
    trap : HUP INT PIPE
    (
        exec >/dev/null 2>&1 7>&-
        trap 'deafen; exit' TERM
        while hear; do :; done
        kill -s TERM $$
    ) &
    watch=$!
    exec 3<&-
    wait "$child"
    code=$?
    kill "$watch" 2>/dev/null
    rm -f "$dir/serve.$$"
    exit "$code"
}
stop() {
    trap : TERM
    kill "$watch" 2>/dev/null
    kill_group TERM "$child"
    (
        exec >/dev/null 2>&1 7>&-
        sleep 5
        kill_group KILL "$child"
    ) &
    killer=$!
    wait "$child"
    kill "$killer" 2>/dev/null
    kill_group KILL "$child"
    rm -f "$dir/serve.$$"
    exit 143
}

# forget MINUTES: removes the records, so old, of commands that ended or ended with an earlier boot,
# and the folders of jobs that left none.
forget() {
    [ -d "$state" ] || answer DONE
    find "$state/job" -type f \( -name exit -o -name boot \) -mmin "+$1" 2>/dev/null |
        while read -r file; do
            old=${file%/*}
            if [ "${file##*/}" = boot ]; then
                [ ! -f "$old/exit" ] && [ "$(cat "$file")" != "$this_boot" ] || continue
            fi
            mv "$old" "$state/forgotten.$$" && rm -rf "$state/forgotten.$$"
            rmdir "${old%/*}" 2>/dev/null
        done
    find "$state/job" -depth -type d -mmin "+$1" -exec rmdir {} ';' 2>/dev/null
    lay_in
    answer DONE
}

case $verb in
start | runner | status | log | cancel)
    step=$1 record=$state/job/$job/$1
    shift
    ;;
esac
case $verb in
hold | start | runner | status | log | cancel | run | serve | forget) "$verb" "$@" ;;
*) fail "unknown verb $verb" ;;
esac
