# shellcheck shell=bash
# Processes of a lab: started detached, remembered by pid and start time, ended by pid alone. Sourced.

start_time() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) && s=${s##*) } && cut -d' ' -f20 <<<"$s"; }
remember() { echo "$2 $(start_time "$2")" >"$1"; }
pid_in() { cut -d' ' -f1 "$1"; }

# alive FILE : the remembered process still runs; a newer one with the same number is another process.
alive() {
  local pid began
  { read -r pid began <"$1"; } 2>/dev/null && [ -n "$began" ] && [ "$(start_time "$pid")" = "$began" ]
}
gone() { ! alive "$1" || [ "$(sed 's/.*) //' "/proc/$(pid_in "$1")/stat" 2>/dev/null | cut -c1)" = Z ]; }

# spawn FILE COMMAND... : detached. The mark finds it even when this script dies before it is remembered.
spawn() {
  local file=$1
  shift
  DRS_LAB_PROCESS=$DRS_LAB setsid "$@" </dev/null >>"${file%.pid}.out" 2>&1 &
  remember "$file" $!
}

end() {
  alive "$2" || return 0
  [ "$(pid_in "$2")" = $$ ] && return
  kill "-$1" "$(pid_in "$2")" 2>/dev/null || true
  await "the end of process $(pid_in "$2")" gone "$2"
}

# end_marked NAME=VALUE : every process that has exactly this in its environment, but not this script.
end_marked() {
  local environ pid file=$DRS_LAB/marked.pid
  for environ in /proc/[0-9]*/environ; do
    grep -qszxF -- "$1" "$environ" || continue
    pid=${environ#/proc/} && pid=${pid%/environ}
    [ "$pid" = $$ ] && continue
    remember "$file" "$pid"
    end KILL "$file"
  done
}

# await WHAT COMMAND... : until the command succeeds, for at most 60 s.
await() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || die "waited 60 s for $what"
    sleep 0.02
  done
}
