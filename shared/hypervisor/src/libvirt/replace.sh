# Puts a restored VM in the place of another one.
#
#   replace.sh imported UUID                                            changes nothing
#   replace.sh exchange      JOB ORDER NAME MADE_AS ASIDE OLD_UUID
#   replace.sh exchange_back JOB ORDER NAME MADE_AS ASIDE OLD_UUID
#   replace.sh destroy       JOB ORDER ASIDE OLD_UUID FILE...
#
# Two renamings make an exchange; the names that the VMs have tell how far it came. The new VM is the
# one whose description says that this job made it. `destroy` removes the files first: until the VM is
# undefined, its description tells which they are.
#
# Exit codes: 17 a name is taken by a third VM, 20 a VM runs, 21 libvirt does not tell what must be
# known (nothing is changed then).
umask 077
command=$1
shift

v() {
    timeout -k 5 60 virsh -q "$@"
}

unclear() {
    fail 21 "libvirt does not tell $1: ${2:-no answer in time}"
}

# note_of UUID: sets `note` to what DR Switch noted in the description, empty when nothing.
note_of() {
    note=$(v metadata "$1" urn:dr-switch:import:1 --config 2>&1) && return 0
    case $note in *'metadata element is not present'*) note='' ;; *) unclear 'who made the VM' "$note" ;; esac
}

imported() {
    note_of "$1"
    if [ -n "$note" ]; then printf 'yes\n'; else printf 'no\n'; fi
}

# list_vms: sets `listed`
list_vms() {
    listed=$(v list --all --uuid --name 2>&1) || unclear 'which VMs there are' "$listed"
}

uuid_of() {
    printf '%s\n' "$listed" | while read -r id name; do
        [ "$name" != "$1" ] || printf '%s\n' "$id"
    done
}

name_of() {
    printf '%s\n' "$listed" | while read -r id name; do
        [ "$id" != "$1" ] || printf '%s\n' "$name"
    done
}

# find_both JOB NAME MADE_AS OLD_UUID: sets `new`, a UUID, and `new_name` and `old_name`; empty when
# there is no such VM.
find_both() {
    list_vms
    old_name=$(name_of "$4")
    new='' new_name=''
    for candidate in "$3" "$2"; do
        id=$(uuid_of "$candidate")
        [ -n "$id" ] && [ "$id" != "$4" ] || continue
        note_of "$id"
        case $note in *"$1"*) new=$id new_name=$candidate ;; esac
    done
}

demand_off() {
    state=$(v domstate "$1" 2>&1) || unclear 'whether the VM runs' "$state"
    case $state in
    *'shut off' | *crashed) ;;
    *) fail 20 "the VM $2 runs" ;;
    esac
}

# rename UUID FROM TO
rename() {
    [ -z "$(uuid_of "$3")" ] || fail 17 "VM $3"
    demand_off "$1" "$2"
    v domrename "$1" "$3" >/dev/null || exit
    list_vms
}

exchange() {
    take_turn "$1" "$2"
    find_both "$1" "$3" "$4" "$6"
    [ "$new_name" != "$3" ] || return 0
    [ -n "$new" ] || fail 1 "the restored VM $4 is gone"
    demand_off "$new" "$4"
    case $old_name in
    "$3") rename "$6" "$3" "$5" ;;
    "$5") ;;
    *) fail 1 "the VM $3 is not the one that was to be replaced" ;;
    esac
    rename "$new" "$4" "$3"
}

exchange_back() {
    take_turn "$1" "$2"
    find_both "$1" "$3" "$4" "$6"
    if [ "$new_name" = "$3" ]; then
        [ "$old_name" = "$5" ] || fail 1 "the replaced VM $5 is gone"
        demand_off "$6" "$5"
        rename "$new" "$3" "$4"
    fi
    [ "$old_name" != "$5" ] || rename "$6" "$5" "$3"
}

# sources UUID: every file that a VM of this host but that one has, with what it lies on
sources() {
    while read -r id name; do
        [ -n "$id" ] && [ "$id" != "$1" ] || continue
        for which in '' --inactive; do
            disks=$(v domblklist "$id" $which 2>&1) || case $disks in
            *transient*) continue ;;
            *) unclear "which disks the VM $name has" "$disks" ;;
            esac
            printf '%s\n' "$disks" | sed -n 's|^ *[^ ]* *\(/.*\)$|\1|p' | sort -u | with_backing
        done
    done <<VMS
$listed
VMS
}

with_backing() {
    while read -r file; do
        printf '%s\n' "$file"
        qemu-img info -U --backing-chain -- "$file" 2>/dev/null | sed -n 's/^image: //p'
    done
}

# is_among FILES FILE
is_among() {
    while read -r other; do
        if [ "$other" -ef "$2" ]; then return 0; fi
    done <<FILES
$1
FILES
    return 1
}

destroy() {
    take_turn "$1" "$2"
    aside=$3 uuid=$4
    shift 4
    list_vms
    name=$(name_of "$uuid")
    [ -n "$name" ] || return 0
    [ "$name" = "$aside" ] || fail 1 "the replaced VM is called $name and not $aside: it is left alone"
    demand_off "$uuid" "$aside"
    others=$(sources "$uuid") || exit
    for file; do
        if is_among "$others" "$file"; then
            printf '%s\n' "$file"
        else
            rm -f -- "$file" || exit 1
        fi
    done
    v undefine "$uuid" --nvram --managed-save --snapshots-metadata --checkpoints-metadata >/dev/null || exit
}

"$command" "$@"
