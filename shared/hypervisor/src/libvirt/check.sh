# Whether this host can be used. Prints `key: value` lines. Changes nothing.
missing=
for tool in virsh qemu-img qemu-nbd flock setsid timeout stat; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
printf 'missing: %s\n' "$missing"
[ -z "$missing" ] || exit 0
printf 'login: %s\n' "$(id -u)"
printf 'uri: %s\n' "$(timeout -k 5 30 virsh -q uri)"
timeout -k 5 30 virsh -q version || exit
if [ ! -d "$1" ]; then
    printf 'folder: missing\n'
elif [ ! -w "$1" ]; then
    printf 'folder: read-only\n'
else
    printf 'folder: ok\n'
fi
[ ! -d "$1" ] || printf 'free: %s\n' "$(df -B1 --output=avail -- "$1" | tail -n 1 | tr -d ' ')"
