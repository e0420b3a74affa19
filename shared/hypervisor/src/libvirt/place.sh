# Where an export of VM UUID can put its socket, and whether its memory is saved. Changes nothing.
# QEMU may always write its own folder below /var/lib/libvirt/qemu (also under AppArmor and
# SELinux), and its name is short enough for a socket.
if [ "$(id -u)" = 0 ]; then
    printf 'run:/run\n'
    id=$(timeout -k 5 15 virsh -q domid "$1") || exit
    for folder in /var/lib/libvirt/qemu/domain-"$id"-*; do
        [ ! -d "$folder" ] || printf 'private:%s\n' "$folder"
    done
else
    printf 'run:%s\n' "${XDG_RUNTIME_DIR:-$HOME/.cache}"
fi
timeout -k 5 15 virsh -q dominfo "$1"
