# shellcheck shell=bash
# The namespace layout (root): each host has its own mounts, name, network, processes and disk, its own
# sshd on port 22 and its own root libvirtd. Hosts meet on a bridge in a network namespace of the lab, the
# hub, so several labs with the same addresses run side by side. Sourced by `lab`.

ADDRESS_A=10.77.0.11 ADDRESS_B=10.77.0.12 HUB_ADDRESS=10.77.0.1/24

address() { if [ "$1" = "$HOST_A" ]; then echo $ADDRESS_A; else echo $ADDRESS_B; fi; }
ssh_target() { echo "root@$(address "$1")"; }
known_name() { address "$1"; }
images_of() { echo /var/lib/libvirt/images; }
guest_of() { echo /var/lib/libvirt/images/guest; }
log_of() { echo /var/log/libvirt/qemu; }
run_of() { echo /run; }
bridge_of() { echo "br-$1"; }

in_hub() { nsenter -t "$(pid_in "$DRS_LAB/hub.pid")" -n "$@"; }

missing() {
  local tool
  for tool in ssh ssh-keygen ip nsenter unshare mke2fs; do command -v "$tool" >/dev/null || echo "$tool"; done
}

prepare() {
  unshare -m -n -p -f true 2>/dev/null || die "may not make namespaces here (in a container: run it privileged)"
  alive "$DRS_LAB/hub.pid" || make_hub
  in_hub ip addr replace "$HUB_ADDRESS" dev hub0
}
make_hub() {
  spawn "$DRS_LAB/hub.pid" unshare -n sleep infinity
  await "the lab's network" own_network "$(pid_in "$DRS_LAB/hub.pid")"
  in_hub ip link set lo up
  in_hub ip link add hub0 type bridge
  in_hub ip link set hub0 up
}
own_network() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }

start_host() {
  local host=$1 dir=$DRS_LAB/$1 address network number
  address=$(address "$host")
  IFS=. read -r _ network _ number <<<"$address"
  make_disk "$dir"
  spawn "$dir/outer.pid" unshare -m -u -i -n -p -f --kill-child --propagation private \
    "$LAB_SOURCE/host-mounts" "$host" "$address" "$dir" "$PACKAGE_ROOT" "$GUEST"
  await "process 1 of $host" first_child "$(pid_in "$dir/outer.pid")"
  remember "$dir/init.pid" "$(first_child "$(pid_in "$dir/outer.pid")")"
  # A fixed hardware address: a random one leaves stale neighbour entries after a power cycle.
  in_hub ip link add "v-$host" type veth peer name eth0 \
    address "$(printf '02:d4:00:00:%02x:%02x' "$network" "$number")" netns "$(pid_in "$dir/init.pid")"
  in_hub ip link set "v-$host" master hub0 up
}
first_child() { grep -o '^[0-9]*' "/proc/$1/task/$1/children"; }

# libvirt asks QEMU for its abilities once and caches the answer: a second or two per host, so the first
# lab leaves its cache for those that follow.
make_disk() {
  [ -d "$1/disk" ] && return
  rm -rf "$1/disk.new"
  mkdir -p "$1/disk.new"
  cp -a "$PACKAGE_ROOT"/{etc,var,root} "$1/disk.new/"
  [ -d "$CACHE/capabilities" ] && cp -a "$CACHE/capabilities/." "$1/disk.new/var/cache/libvirt/"
  mv "$1/disk.new" "$1/disk"
}
keep_capabilities() {
  local new=$CACHE/capabilities.$$
  [ -d "$CACHE/capabilities" ] && return
  cp -a "$DRS_LAB/$HOST_A/disk/var/cache/libvirt" "$new"
  mv -T "$new" "$CACHE/capabilities" 2>/dev/null || rm -rf "$new"
}

kill_host() {
  local dir=$DRS_LAB/$1
  end KILL "$dir/init.pid"
  end KILL "$dir/outer.pid"
  in_hub ip link del "v-$1" 2>/dev/null || true
}
unprepare() { end KILL "$DRS_LAB/hub.pid"; }

cut_host() { in_hub ip link set "v-$1" down; }
heal_host() { in_hub ip link set "v-$1" up; }
enter_host() { local host=$1; shift; exec nsenter -t "$(pid_in "$DRS_LAB/$host/init.pid")" -m -u -i -n -p -r -w "$@"; }
