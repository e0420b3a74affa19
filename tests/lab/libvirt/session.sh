# shellcheck shell=bash
# The session layout (no root): each host is an sshd on a loopback port with its own XDG directories, and
# so its own qemu:///session libvirtd, all of one ordinary user. There are no bridges and no partitions;
# a power failure ends every process that carries the host's mark. Sourced by `lab`.

port_of() { cat "$DRS_LAB/$1/port"; }
address() { echo 127.0.0.1; }
ssh_target() { echo "ssh://$(id -un)@127.0.0.1:$(port_of "$1")"; }
known_name() { echo "[127.0.0.1]:$(port_of "$1")"; }
images_of() { echo "$DRS_LAB/$1/images"; }
guest_of() { echo "$GUEST"; }
log_of() { echo "$DRS_LAB/$1/log"; }
run_of() { echo "$DRS_LAB/$1/run"; }
bridge_of() { :; }

in_hub() { "$@"; }

missing() {
  local tool
  for tool in ssh ssh-keygen sshd libvirtd virsh qemu-system-x86_64 qemu-img qemu-nbd nc mke2fs; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
}

prepare() { :; }
unprepare() { :; }
keep_capabilities() { :; }

start_host() {
  local host=$1 dir=$DRS_LAB/$1
  mkdir -p "$dir"/{run,config/libvirt,cache,data,log}
  chmod 700 "$dir/run"
  cat >"$dir/config/libvirt/libvirtd.conf" <<X
host_uuid = "d12e0000-0000-4000-8000-$(printf '%012d' "$(port_of "$host")")"
log_outputs = "2:file:$dir/log/libvirtd.log"
X
  printf 'stdio_handler = "file"\nsecurity_driver = "none"\n' >"$dir/config/libvirt/qemu.conf"
  cat >"$dir/sshd_config" <<X
ListenAddress 127.0.0.1:$(port_of "$host")
HostKey $dir/hostkey
PidFile none
AuthorizedKeysFile $dir/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
SetEnv $(host_environment "$host" | tr '\n' ' ')
Subsystem sftp internal-sftp
X
  spawn "$dir/sshd.pid" env "DRS_LAB_HOST=$dir" "$(command -v sshd)" -D -f "$dir/sshd_config" -E "$dir/log/sshd.log"
  # shellcheck disable=SC2046  # one word per variable: the values hold no blanks
  spawn "$dir/libvirtd.pid" env $(host_environment "$host") libvirtd
}

host_environment() {
  local dir=$DRS_LAB/$1
  printf '%s\n' "DRS_LAB_HOST=$dir" "XDG_RUNTIME_DIR=$dir/run" "XDG_CONFIG_HOME=$dir/config" \
    "XDG_CACHE_HOME=$dir/cache" "XDG_DATA_HOME=$dir/data" "DRS_STATE_DIR=$dir/drs-state" \
    "LIBVIRT_DEFAULT_URI=qemu:///session" "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
}

# libvirt starts QEMU with an environment of its own making, so guests are known by their pid files.
kill_host() {
  local dir=$DRS_LAB/$1 file pid
  end KILL "$dir/sshd.pid"
  end KILL "$dir/libvirtd.pid"
  end_marked "DRS_LAB_HOST=$dir"
  for file in "$dir"/run/libvirt/qemu/run/*.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    grep -qsF "$dir/" "/proc/$pid/cmdline" || continue
    remember "$file" "$pid"
    end KILL "$file"
  done
  rm -rf "$dir/run"
}

cut_host() { die "the session layout has no network to cut: run the lab as root"; }
heal_host() { cut_host; }
enter_host() { die "the session layout has no host to enter: use lab ssh"; }
