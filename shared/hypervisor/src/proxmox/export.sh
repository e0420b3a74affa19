# Opens and closes the stream of a guest.
#
#   export.sh stream JOB VMID FOLDER LOCK ORDER         the archive on standard output; the log in FOLDER
#   export.sh watch  JOB VMID FOLDER LOCK KIND TENTHS   waits until the backup is under way or over; its log
#   export.sh admit  JOB VMID FOLDER LOCK               whether nobody else dumps on the node
#   export.sh close  JOB VMID FOLDER LOCK ORDER

# watch qemu|lxc TENTHS: until the freeze instant is over by the log, or will not come.
watch() {
    [ -f "$folder/output" ] || fail 1 'the job has no backup on this node'
    case $1 in
    qemu) under_way='started backup task|starting diskless backup' ;;
    *) under_way='sending archive' ;;
    esac
    for attempt in $(seq "$2"); do
        ! grep -qE "^INFO: ($under_way|Finished|Failed)|^ERROR: " "$folder/output" || break
        [ -n "$(living "$folder")" ] || break
        sleep 0.1
    done
    tell_log
}

case $command in
stream)
    take_turn "$job" "$1"
    begin
    printf '%s\n' "$$" >"$folder/pid"
    exec 2>>"$folder/output"
    dump_of "" --compress 0 --stdout
    ;;
watch) watch "$1" "$2" ;;
admit) admit ;;
close)
    take_turn "$job" "$1"
    close_exports
    ;;
esac
