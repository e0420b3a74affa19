# Dumps a guest into an archive in the job's folder.
#
#   dump.sh room   JOB VMID FOLDER LOCK BYTES         whether the archive of so many bytes may find room
#   dump.sh dump   JOB VMID FOLDER LOCK ORDER LIMIT   vzdump's log on standard output; its exit code
#   dump.sh report JOB VMID FOLDER LOCK               FILE SIZE NAME..., BEGAN MS, LOG, the log
#   dump.sh head   JOB VMID FOLDER LOCK NAME BYTES    the first bytes of an archive, unpacked

# How small an archive becomes nobody knows before: a tenth of the disks must be free, and 1 GiB.
room() {
    place=${folder%/*}
    case $place/ in
    /mnt/pve/*/*)
        store=${place#/mnt/pve/}
        mountpoint -q "/mnt/pve/${store%%/*}" ||
            fail 1 "nothing is mounted at /mnt/pve/${store%%/*}, where archives are to go"
        ;;
    esac
    while [ ! -d "$place" ] && [ -n "$place" ]; do place=${place%/*}; done
    free=$(df -B1 --output=avail -- "$place/" | tail -n 1 | tr -d ' ')
    needed=$(($1 / 10 + 1073741824))
    [ "$free" -ge "$needed" ] ||
        fail 1 "No space left on device: ${folder%/*} has $free bytes free, an archive may take $needed"
}

# Whether all is there though vzdump failed behind it (a hook, say).
archive_is_complete() {
    archive=$(sed -n "s/^INFO: creating vzdump archive '\(.*\)'$/\1/p" "$folder/output")
    grep -q '^INFO: archive file size: ' "$folder/output" && [ -s "$archive" ] &&
        grep -qE '^INFO: (transferred|Total bytes written:|starting diskless backup)' "$folder/output"
}

dump() {
    (dump_of "$1" --compress zstd >>"$folder/output" 2>&1) &
    main=$!
    printf '%s\n' "$main" >"$folder/pid"
    exec 6>&- 7>&-
    # A cancel reaches vzdump, too, and waits here until it has cleaned up.
    trap : TERM
    tail -c +1 -f --pid="$main" "$folder/output"
    wait "$main"
    code=$?
    while kill -0 "$main" 2>/dev/null; do
        wait "$main"
        code=$?
    done
    if [ "$code" != 0 ] && archive_is_complete; then
        printf 'WARN: the archive is complete, though vzdump failed behind it\n'
        code=0
    fi
    exit "$code"
}

case $command in
dump)
    take_turn "$job" "$1"
    begin
    dump "$2"
    ;;
room) room "$1" ;;
report)
    find "$folder" -maxdepth 1 -type f -printf 'FILE %s %f\n'
    tell_log
    ;;
head) zstd -d -c -q -- "$folder/$1" | head -c "$2" ;;
esac
