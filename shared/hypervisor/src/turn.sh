# What every script that changes something for a job begins with.
#
# The commands of a job take turns. A command whose worker gave up goes on here for a moment, or is
# still on its way: the undo that follows waits for the first, and the second finds that a newer
# command was here before it.
#
#   RUN/drs-turns/JOB   locked while a command runs; holds the ORDER of the newest one
#
# ORDER is FENCE.NUMBER: the fencing token of the claim, and a number that rises in its worker. `any`
# is of no order. No command lives for an hour: older files go.
set -u

fail() {
    printf '%s\n' "$2" >&2
    exit "$1"
}

runtime_folder() {
    if [ "$(id -u)" = 0 ]; then
        printf '/run\n'
    else
        printf '%s\n' "${XDG_RUNTIME_DIR:-$HOME/.cache}"
    fi
}

# take_turn JOB ORDER
take_turn() {
    turn=$(runtime_folder)/drs-turns/$1
    mkdir -p "${turn%/*}" || exit 1
    find "${turn%/*}" -type f -mmin +60 -delete
    exec 6>>"$turn" && flock -w 100 6 && [ "/proc/$$/fd/6" -ef "$turn" ] ||
        fail 21 'another command of this job still runs'
    [ "$2" != any ] || return 0
    newest=$(cat "$turn")
    ! older "$2" "${newest:-0.0}" || fail 21 'a newer command of this job was here first'
    printf '%s\n' "$2" >"$turn"
}

older() {
    [ "${1%.*}" -lt "${2%.*}" ] || { [ "${1%.*}" -eq "${2%.*}" ] && [ "${1#*.}" -lt "${2#*.}" ]; }
}

