# shellcheck shell=bash disable=SC2034
# What the lab is made of and where its parts are kept. Sourced by `setup`, `lab` and the guest makers.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

# Two hosts, always these: the protected site and the recovery site.
HOST_A=dr-a HOST_B=dr-b

# The packages of one libvirt host, and nothing that would start a service of the machine itself.
HOST_PACKAGES=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils
  openssh-server e2fsprogs iproute2 netcat-openbsd procps)

# Root gets the namespace layout (whole hosts); anybody else the session layout (two ports, one user).
LAYOUT=session
[ "$(id -u)" = 0 ] && LAYOUT=namespaces

# shellcheck source=/dev/null
DISTRIBUTION=$(. /etc/os-release && echo "$ID")
CODENAME=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

# Built parts are shared by every checkout and every lab of this user, read-only once built. The key
# changes with whatever they are built from, so a newer definition never meets an older root.
LAB_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab_key() { cat "$LAB_SOURCE"/{definition.sh,setup,guest/*} | sha256sum | cut -c1-12; }
CACHE_HOME=${DRS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drs-lab}
CACHE=$CACHE_HOME/$LAYOUT-$CODENAME-$(lab_key)
PACKAGE_ROOT=$CACHE/root     # a Debian or Ubuntu tree with HOST_PACKAGES (namespace layout only)
GUEST=$CACHE/guest           # boot.bin, vmlinuz, initrd: what the test guests boot
