# shellcheck shell=bash
# What every host of a namespace layout is, whatever hypervisor it runs: its own mounts, devices, boot id,
# address and sshd. Sourced by host-mounts, which still sees the machine's tree, and by host-init inside.

# mount_host DIR ROOT PACKAGE_ROOT : the shared package root, read-only; the host's own disk, which survives
# a power failure; /run, /tmp, /proc, /sys, /dev. The host's state directory is /lab.
mount_host() {
  local dir=$1 root=$2 package_root=$3 part
  mkdir -p "$root" "$dir/log"
  mount --bind "$package_root" "$root"
  mount -o remount,bind,ro "$root"
  for part in "$dir"/disk/*/; do mount --bind "$part" "$root/$(basename "$part")"; done
  mount --bind "$dir" "$root/lab"
  mount -t tmpfs -o mode=755 run "$root/run"
  mount -t tmpfs -o mode=1777 tmp "$root/tmp"
  mount -t proc proc "$root/proc"
  mount -t sysfs sys "$root/sys"    # without it `virsh start` fails for a cause it calls unknown
  mount_devices "$root"
  install -m 644 "$(dirname "${BASH_SOURCE[0]}")/host.sh" "$dir/host.sh"
}

# A /dev without kvm: where /dev/kvm opens but cannot run a guest, libvirt would re-probe QEMU for
# seconds at every start and advertise a domain type that does not work.
mount_devices() {
  local root=$1 node n
  mount -t tmpfs -o mode=755 dev "$root/dev"
  for node in null zero full random urandom tty net/tun fuse; do
    [ -e "/dev/$node" ] || continue
    mkdir -p "$(dirname "$root/dev/$node")"
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mkdir "$root"/dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
  mount -t tmpfs shm "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%%:*}" "$root/dev/${n##*:}"; done
}

# begin_host NAME ADDRESS : what a boot brings: directories in /run, names, a boot id of its own.
begin_host() {
  mkdir -p /run/sshd /run/lock
  printf '127.0.0.1 localhost\n%s %s\n' "$2" "$1" >/etc/hosts
  cat /proc/sys/kernel/random/uuid >/run/boot_id
  mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
}

# join_network ADDRESS : eth0 is plugged in by `lab start`.
join_network() {
  ip link set lo up
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
  ip addr add "$1/24" dev eth0
  ip link set eth0 up
}

# start_sshd ADDRESS LOG VARIABLE=VALUE... : on port 22. Limits are sshd's own defaults (10 sessions per
# connection), as on a customer's host.
start_sshd() {
  local address=$1 log=$2
  shift 2
  cat >/lab/sshd_config <<X
ListenAddress $address:22
HostKey /lab/hostkey
PidFile /run/sshd.pid
AuthorizedKeysFile /lab/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
SetEnv PATH=$PATH $*
Subsystem sftp internal-sftp
X
  /usr/sbin/sshd -f /lab/sshd_config -E "$log"
}
