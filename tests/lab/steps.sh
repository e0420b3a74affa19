# shellcheck shell=bash
# What the demos share: named steps with their times, every command printed before it runs, one verdict
# at the end. Sourced by demo-libvirt, demo-proxmox and demo-simulated.

TARGET=${CARGO_TARGET_DIR:-$REPO/target}
LOG=$TARGET/demo.log
unset DRS_LAB DRS_DATA_DIR
STEP='' STEP_BEGAN=0 TABLE='' VERDICT=''

mkdir -p "$TARGET"
: >"$LOG"
exec > >(tee -ia "$LOG") 2>&1
TEE=$!

milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# step TITLE : ends the step before it.
step() {
  end_step
  STEP=$1 STEP_BEGAN=$(milliseconds)
  printf '\n== %s\n' "$STEP"
}
end_step() {
  local took=$(($(milliseconds) - STEP_BEGAN))
  [ -z "$STEP" ] || TABLE+=$(printf '%7d.%01d s  %s' $((took / 1000)) $((took % 1000 / 100)) "$STEP")$'\n'
  STEP=''
}

show() { printf '$ %s\n' "$*"; }
run() { show "$@"; "$@"; }

# refused PATTERN COMMAND... : it must fail, and its message must say this.
refused() {
  local pattern=$1 output
  shift
  show "$@"
  if output=$("$@" 2>&1); then
    printf '%s\n' "$output"
    check "this was to be refused" false
  fi
  printf '%s\n' "$output"
  check "the refusal names $pattern" grep -qF -- "$pattern" <<<"$output"
}

# check WHAT COMMAND... : a fact the demo stands for.
check() {
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "NOT SO: $what"; exit 1; fi
}

passed() { end_step; VERDICT=PASS; }

verdict() {
  if [ "$VERDICT" = PASS ]; then
    printf '\n%s\ndemo: PASS\n' "$TABLE"
  else
    printf '\n%s\ndemo: FAIL: %s, log at %s\n' "$TABLE" "${STEP:-before the first step}" "$LOG"
  fi
  # The last word is on the screen before the caller goes on.
  exec >&- 2>&-
  wait "$TEE"
  [ "$VERDICT" = PASS ] || exit 1
}
