# shellcheck shell=bash disable=SC2034
# What the Proxmox lab is made of and where its parts are kept. Sourced by `setup` and `lab`. The package root
# is the libvirt lab's with more packages in it: both hosts need sshd and QEMU.

PROXMOX_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$PROXMOX_SOURCE/../../.." && pwd)
# shellcheck source=../libvirt/definition.sh
. "$PROXMOX_SOURCE/../libvirt/definition.sh"
BASE_ROOT=$PACKAGE_ROOT

# What a Proxmox node has and a libvirt host of the lab has not.
NODE_PACKAGES=(rsync zstd lzop acl attr psmisc)
# Where the commands lie on a real node; all are one program of ours.
NODE_COMMANDS=(/usr/bin/vzdump /usr/sbin/qmrestore /usr/sbin/qm /usr/sbin/pct /usr/bin/pvesh /usr/sbin/pvesm
  /usr/sbin/ha-manager /usr/sbin/lab-guest)

CACHE=$CACHE_HOME/proxmox-$CODENAME-$({ lab_key && cat "$PROXMOX_SOURCE"/{definition.sh,setup}; } | sha256sum | cut -c1-12)
PACKAGE_ROOT=$CACHE/root
LAB_SOURCE=$PROXMOX_SOURCE
GUEST=$REPO/tests/fixtures/proxmox/boot    # boot.bin and writer.bin, the boot sectors of the test guests
PROGRAM=${CARGO_TARGET_DIR:-$REPO/target}/debug/drs-lab-proxmox
