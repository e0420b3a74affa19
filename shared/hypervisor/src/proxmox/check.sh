# Whether this node can be used: lines `key: value`.
#
#   check.sh DUMP_DIR
missing=
for tool in vzdump qmrestore qm pct pvesh rsync zstd flock; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
printf 'missing:%s\n' "$missing"
printf 'login: %s\n' "$(id -u)"
folder=$1
while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
printf 'free: %s\n' "$(df -B1 --output=avail -- "$folder" | tail -n 1 | tr -d ' ')"
for key in storage script; do
    ! grep -qs "^$key:" /etc/vzdump.conf || printf 'vzdump.conf: %s\n' "$key"
done
[ ! -r /etc/pve/ha/resources.cfg ] ||
    sed -n 's/^\(vm\|ct\): *\([0-9][0-9]*\).*/ha: \2/p' /etc/pve/ha/resources.cfg
