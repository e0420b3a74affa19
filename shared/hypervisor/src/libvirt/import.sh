# Makes a VM from written disks, and takes it back.
#
#   import.sh probe  DIR... -- PATH...             changes nothing
#   import.sh create JOB ORDER [STAGING BYTES]...
#   import.sh check  STAGING...                    changes nothing
#   import.sh define JOB ORDER MADE_AS NAME [STAGING FINAL]...   the description on standard input
#   import.sh remove JOB ORDER MADE_AS NAME [STAGING FINAL]...
#
# A disk is written under its staging name, which carries the job's id. `define` gives it its final
# name by a second link and removes the staging name when the VM is defined. So a final file is ours
# if the staging name is the same file, or if the VM says that this job made it; `remove` makes the
# staging link anew before it undefines the VM. Nothing is ever overwritten: linking fails where a file
# is. The VM is called MADE_AS, or NAME when it has taken the place of another one.
#
# Exit codes: 17 something is there already (named on standard error), 20 the VM runs, 21 libvirt does
# not tell what must be known (nothing is removed then).
umask 077
command=$1
shift

v() {
    timeout -k 5 60 virsh -q "$@"
}

find_vm() {
    listed=$(v list --all --uuid --name) || return
    printf '%s\n' "$listed" | while read -r id name; do
        [ "$name" = "$1" ] && printf '%s\n' "$id"
    done
    return 0
}

# made_by JOB UUID: whether that job made the VM; its description says so. A libvirt that does not
# answer says nothing.
made_by() {
    if note=$(v metadata "$2" urn:dr-switch:import:1 --config 2>&1); then
        case $note in *"$1"*) return 0 ;; esac
        return 1
    fi
    case $note in *'metadata element is not present'*) return 1 ;; esac
    fail 21 "libvirt does not tell which job made the VM: ${note:-no answer in time}"
}

# find_made JOB NAME...: sets `uuid` to the VM of one of these names that the job made, or to nothing
find_made() {
    made_for=$1
    shift
    for candidate; do
        uuid=$(find_vm "$candidate") || exit 1
        [ -z "$uuid" ] || ! made_by "$made_for" "$uuid" || return 0
    done
    uuid=''
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

probe() {
    while [ "$1" != -- ]; do
        if [ ! -d "$1" ]; then
            printf 'missing\n'
        elif [ ! -w "$1" ]; then
            printf 'read-only\n'
        else
            df -B1 --output=avail -- "$1" | tail -n 1 | tr -d ' '
        fi
        shift
    done
    shift
    for path; do
        if exists "$path"; then printf 'yes\n'; else printf 'no\n'; fi
    done
}

create() {
    take_turn "$1" "$2"
    shift 2
    while [ $# -gt 0 ]; do
        rm -f -- "$1" && qemu-img create -q -f qcow2 -- "$1" "$2" || exit 1
        shift 2
    done
}

check() {
    for disk; do
        qemu-img check -f qcow2 -- "$disk" || exit
    done
}

define() {
    take_turn "$1" "$2"
    job=$1 made_as=$3 name=$4
    shift 4
    find_made "$job" "$made_as" "$name"
    if [ -z "$uuid" ]; then
        [ -z "$(find_vm "$made_as")" ] || fail 17 "VM $made_as"
        link_final "$@"
        v define /dev/stdin || exit
    fi
    while [ $# -gt 0 ]; do
        rm -f -- "$1"
        sync -- "${2%/*}"
        shift 2
    done
}

link_final() {
    while [ $# -gt 0 ]; do
        if ! [ "$1" -ef "$2" ]; then
            exists "$1" || fail 1 "the written disk $1 is gone"
            why=$(ln -- "$1" "$2" 2>&1) || { exists "$2" && fail 17 "$2"; fail 1 "$why"; }
        fi
        shift 2
    done
}

remove() {
    take_turn "$1" "$2"
    job=$1 made_as=$3 name=$4
    shift 4
    find_made "$job" "$made_as" "$name"
    if [ -n "$uuid" ]; then
        state=$(v domstate "$uuid" 2>&1) || fail 21 "libvirt does not tell whether the VM runs: $state"
        case $state in
        *'shut off' | *crashed) undefine "$uuid" "$@" ;;
        *) fail 20 "the restored VM runs: it is not removed" ;;
        esac
    fi
    end_servers "$job"
    while [ $# -gt 0 ]; do
        if [ "$1" -ef "$2" ]; then rm -f -- "$2" || exit 1; fi
        rm -f -- "$1" || exit 1
        shift 2
    done
}

undefine() {
    uuid=$1
    shift
    relink "$@"
    v undefine "$uuid" --nvram --managed-save --snapshots-metadata --checkpoints-metadata || exit
}

relink() {
    while [ $# -gt 0 ]; do
        [ "$1" -ef "$2" ] || ! exists "$2" || ln -- "$2" "$1" || exit 1
        shift 2
    done
}

# The qemu-nbd processes whose socket is named after the job, and their sockets.
end_servers() {
    for comm in /proc/[0-9]*/comm; do
        [ "$(cat "$comm" 2>/dev/null)" = qemu-nbd ] || continue
        if tr '\0' '\n' <"${comm%/comm}/cmdline" 2>/dev/null | grep -qF "/drs-$1."; then
            pid=${comm%/comm}
            kill "${pid#/proc/}" 2>/dev/null || true
        fi
    done
    rm -f -- "/run/drs-$1".*.sock "${XDG_RUNTIME_DIR:-${HOME:-/nonexistent}/.cache}/drs-$1".*.sock
}

"$command" "$@"
