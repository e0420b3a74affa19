# Where a guest is and what it is made of.
#
#   guest.sh VMID
#
# Prints `node NAME` (this one), `at NODE FOLDER` for the configuration of that number wherever it is in
# the cluster, and, when it is here, `status: WORD`; then, behind a NUL each, the configuration and the
# firewall rules.
node=$(uname -n)
node=${node%%.*}
printf 'node %s\n' "$node"
# Without its cluster's file system a node seems to have no guest at all.
if [ ! -d "/etc/pve/nodes/$node" ]; then
    printf 'the cluster file system /etc/pve of node %s is not there\n' "$node" >&2
    exit 21
fi
for config in /etc/pve/nodes/*/qemu-server/"$1".conf /etc/pve/nodes/*/lxc/"$1".conf; do
    [ -e "$config" ] || continue
    folder=${config%/*}
    owner=${folder%/*}
    printf 'at %s %s\n' "${owner##*/}" "${folder##*/}"
    [ "${owner##*/}" = "$node" ] || continue
    case $folder in
    */lxc) pct status "$1" || exit ;;
    *) qm status "$1" || exit ;;
    esac
    printf '\000'
    cat "$config" || exit
    printf '\000'
    firewall=/etc/pve/firewall/$1.fw
    [ ! -e "$firewall" ] || cat "$firewall" || exit
    exit 0
done
