# shellcheck shell=bash
# The life of a lab, whatever its hosts are: up, down, sweep, and how a host is reached. Sourced by a `lab`
# script, which names its hosts (HOSTS), its state directories (LAB_DIRS), its TAG and the variable that users
# know its state directory by (LAB_VARIABLE), and defines is_set_up, await_host HOST and write_env beside what
# a layout defines. In here the state directory is DRS_LAB.

client() {
  local host=$1
  shift
  in_hub ssh -F /dev/null -i "$DRS_LAB/id_ed25519" -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes \
    -o UserKnownHostsFile="$DRS_LAB/known_hosts" -o LogLevel=ERROR -o ConnectTimeout=5 "$(ssh_target "$host")" "$@"
}

# on_host HOST SCRIPT ARG... : a constant script, its arguments quoted for the host's shell.
on_host() {
  local host=$1 script=$2 word line="sh -c"
  shift 2
  for word in "$script" sh "$@"; do line+=" '${word//\'/\'\\\'\'}'"; done
  client "$host" "$line"
}

known_host() {
  case " ${HOSTS[*]} " in
    *" ${1:- } "*) ;;
    *) die "no host '${1:-}': ${HOSTS[*]}" ;;
  esac
}
the_lab() {
  [ -n "${DRS_LAB:-}" ] || die "$LAB_VARIABLE is not set: export $LAB_VARIABLE=\$(lab up)"
  [ -f "$DRS_LAB/tag" ] || die "no lab at $DRS_LAB"
}
host_on() { alive "$DRS_LAB/$1/init.pid" || alive "$DRS_LAB/$1/sshd.pid"; }

free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)); do
    (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo $port; return; }
  done
}

make_keys() {
  local host dir
  [ -f "$DRS_LAB/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -C drs-lab -f "$DRS_LAB/id_ed25519"
  : >"$DRS_LAB/known_hosts"
  for host in "${HOSTS[@]}"; do
    dir=$DRS_LAB/$host
    mkdir -p "$dir/images"
    [ -f "$dir/port" ] || free_port >"$dir/port"
    [ -f "$dir/hostkey" ] || ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$dir/hostkey"
    cp "$DRS_LAB/id_ed25519.pub" "$dir/authorized_keys"
    echo "$(known_name "$host") $(cut -d' ' -f1,2 "$dir/hostkey.pub")" >>"$DRS_LAB/known_hosts"
  done
}

fingerprint() { ssh-keygen -lf "$DRS_LAB/$1/hostkey.pub" | cut -d' ' -f2; }

up() {
  local owner='' lacking
  [ "${1:-}" = --owner ] && owner=$2
  lacking=$(missing | tr '\n' ' ')
  [ -z "$lacking" ] || die "missing on this machine: $lacking(tests/lab/setup installs them)"
  is_set_up || die "not set up yet: run $LAB_SOURCE/setup"
  DRS_LAB=${DRS_LAB:-$(mktemp -d "$LAB_DIRS.XXXX")}
  mkdir -p "$DRS_LAB"
  DRS_LAB=$(cd "$DRS_LAB" && pwd)
  [ -f "$DRS_LAB/tag" ] || [ -z "$(ls -A "$DRS_LAB")" ] || die "$DRS_LAB is neither empty nor a lab"
  echo "$TAG" >"$DRS_LAB/tag"
  remember "$DRS_LAB/owner" "${owner:-$$}"    # until it is up, a lab without an owner belongs to this script
  trap 'down' EXIT
  trap 'exit 130' INT TERM HUP
  chmod 755 "$DRS_LAB"
  touch "$CACHE"
  make_keys
  join_beside
  prepare
  local host
  for host in "${HOSTS[@]}"; do host_on "$host" || start_host "$host"; done
  for host in "${HOSTS[@]}"; do await_host "$host"; done
  keep_capabilities
  write_env
  if [ -n "$owner" ]; then
    spawn "$DRS_LAB/watch.pid" env "$LAB_VARIABLE=$DRS_LAB" "$LAB_SELF" watch "$owner"
  else
    echo kept >"$DRS_LAB/owner"
  fi
  trap - EXIT INT TERM HUP
  echo "$DRS_LAB"
}

# Ends the lab when its owner ends, however it ended.
watch() {
  tail --pid="$1" -f /dev/null
  down
}

down() {
  local key
  trap '' INT TERM HUP
  for key in "$DRS_LAB"/*/hostkey; do [ -f "$key" ] && kill_host "$(basename "$(dirname "$key")")"; done
  unprepare
  end TERM "$DRS_LAB/watch.pid"
  end_marked "DRS_LAB_PROCESS=$DRS_LAB"
  rm -rf "$DRS_LAB"
}

sweep() {
  local dir
  for dir in "$LAB_DIRS".*/; do
    DRS_LAB=${dir%/}
    [ "$(cat "$DRS_LAB/tag" 2>/dev/null)" = "$TAG" ] || continue
    [ "$(cat "$DRS_LAB/owner" 2>/dev/null)" = kept ] && continue
    alive "$DRS_LAB/owner" || { say "lab sweep: $DRS_LAB"; down; }
  done
}

status() {
  local host
  for host in "${HOSTS[@]}"; do
    if host_on "$host"; then echo "$host on, $(drs_address "$host")"; else echo "$host off"; fi
  done
}

