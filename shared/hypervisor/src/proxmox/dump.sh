# Dumps a guest into an archive in the job's folder.
#
#   dump.sh dump   JOB VMID FOLDER LOCK ORDER LIMIT   vzdump's log on standard output; its exit code
#   dump.sh report JOB VMID FOLDER LOCK               FILE SIZE NAME..., BEGAN MS, LOG, the log
#   dump.sh head   JOB VMID FOLDER LOCK NAME BYTES    the first bytes of an archive, unpacked

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
report)
    find "$folder" -maxdepth 1 -type f -printf 'FILE %s %f\n'
    tell_log
    ;;
head) zstd -d -c -q -- "$folder/$1" | head -c "$2" ;;
esac
