#!/usr/bin/env bash
# The first day on a GPU in one command: facts, kernels, quantised and plain cells, plan against allocator.
#
#   bash examples/gpu/day.sh OUT [cuda|rocm|xpu]
#
# From the repository's root, or anywhere. Needs torch, transformers, peft and their like; what else
# the box lacks is installed from the wheels that pack.sh put into examples/gpu/wheels, without a
# network and outside the box's own packages. Nothing on the box is changed.
#
# Each stage has a time limit of its own and leaves OUT/STAGE.done: the same command goes on with
# the stages that have none. A stage that fails does not end the day; its log says why. Without such
# a device, or with a word that means nothing, no stage is run and the status is 2.
#
# From the environment: PYTHON (python3), DAY_SIZE of the plan's truth (1.4b), DAY_STAGES (all of
# them), DAY_AXES, further options of every cell ("--kernels stock"), DAY_SCALE, a factor on all time
# limits (1).
set -uo pipefail

USAGE="usage: bash examples/gpu/day.sh OUT [cuda|rocm|xpu]"
STAGES="install facts checks quantised matrix truth times report"
LEAST_MIB=1024  # the wheels unpacked and the compiled kernels; records take next to nothing
refuse() { echo "$*" >&2; exit 2; }
case "${1:-}" in
  -h | --help) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; exit 0 ;;
  '' | -*) refuse "$USAGE" ;;
esac
ACCELERATOR=${2:-cuda}
case "$ACCELERATOR" in cuda | rocm | xpu) ;; *) refuse "$ACCELERATOR is none of cuda, rocm and xpu; $USAGE" ;; esac
unset CDPATH  # cd would look for OUT there, and print what it found
PYTHON=${PYTHON:-python3}
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
mkdir -p "$1" && OUT=$(cd "$1" && pwd) && touch "$OUT/.day" && rm "$OUT/.day" ||
  refuse "nothing can be written to $1: name a folder of yours"
FREE=$(df -Pm "$OUT" | awk 'NR == 2 { print $4 }')
[ "${FREE:-$LEAST_MIB}" -ge $LEAST_MIB ] || refuse "$OUT has $FREE MiB left, and a day takes up to $LEAST_MIB: name a folder with more"
[[ ${DAY_SCALE:-1} =~ ^[1-9][0-9]*$ ]] || refuse "DAY_SCALE=$DAY_SCALE is no whole number from 1 on"
for name in ${DAY_STAGES:-}; do
  case " $STAGES " in *" $name "*) ;; *) refuse "DAY_STAGES names $name, which is none of: $STAGES" ;; esac
done
SITE=$OUT/site
BEGAN=$(date +%s)
export PYTHONPATH="$ROOT/bench:$ROOT/kernels:$ROOT/reports:$SITE${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRITON_CACHE_DIR=$OUT/cache/triton XDG_CACHE_HOME=$OUT/cache

say() { echo "[$(($(date +%s) - BEGAN)) s] $*"; }
am() { "$PYTHON" -P -m alignmeter "$@"; }

# Ctrl-C and SIGTERM end the stage that runs: its process group is not the terminal's.
stop() {
  local running
  running=$(jobs -p)
  [ -z "$running" ] || { kill -TERM $running; wait; } 2> /dev/null
  say "stopped; the same command goes on"
  exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

# stage NAME SECONDS COMMAND...: its output goes to OUT/NAME.log.
stage() {
  local name=$1 limit=$(($2 * ${DAY_SCALE:-1})); shift 2
  case " ${DAY_STAGES:-$name} " in *" $name "*) ;; *) say "$name: not asked for"; return 0 ;; esac
  if [ -e "$OUT/$name.done" ]; then say "$name: done before"; return 0; fi
  export -f am say; export PYTHON OUT HERE ACCELERATOR
  timeout -k 10 "$limit" bash -c '"$@"' _ "$@" > "$OUT/$name.log" 2>&1 &
  wait $!
  local status=$? why=
  if [ $status = 0 ]; then touch "$OUT/$name.done"; say "$name: ok"; return 0; fi
  if [ $status = 124 ]; then why="over $limit s"; else why="status $status"; fi
  say "$name: $why; see $OUT/$name.log"
  FAILED="${FAILED:-} $name"
}

install() {
  if compgen -G "$HERE/wheels/*.whl" > /dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$OUT/site" "$HERE"/wheels/*.whl
  fi
}
checks() {  # one process each: compiling is what takes the time
  local status=0 pids=()
  for kernel in $("$PYTHON" -P "$HERE/kernels.py" names); do
    "$PYTHON" -P "$HERE/kernels.py" check "$kernel" "$ACCELERATOR" > "$OUT/check.$kernel.json" 2> "$OUT/check.$kernel.log" & pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}
times() { "$PYTHON" -P "$HERE/kernels.py" times "$ACCELERATOR" > "$OUT/times.json"; }
facts() {
  "$PYTHON" -P "$HERE/facts.py" "$ACCELERATOR" > "$OUT/facts.json" && am devices --json > "$OUT/devices.json"
}
cells() {
  # shellcheck disable=SC2086 - several words
  am run --accelerator "$ACCELERATOR" "$@" ${DAY_AXES:-}
}
export -f install checks times facts cells

stage install 40 install
missing=$("$PYTHON" -P -c 'import sys
from alignmeter.accelerators import missing_text
sys.exit(missing_text(sys.argv[1]))' "$ACCELERATOR" 2>&1) || refuse "nothing to do here: $(tail -n 1 <<< "$missing")"
stage facts 50 facts
stage checks 120 checks
stage quantised 50 cells --method sft --architecture llama --peft qlora --kernels stock,custom --steps 3 --no-plan --out "$OUT/quantised"
stage matrix 140 cells --method dpo,ppo --architecture llama,mamba --peft lora,full --out "$OUT/matrix"
stage truth 80 cells --method dpo --architecture llama,mamba2 --size "${DAY_SIZE:-1.4b}" --peft lora --seq-len 1024 --batch 1 --data synthetic --steps 5 --out "$OUT/truth"
stage times 80 times
found=(); for folder in quantised matrix truth; do [ -d "$OUT/$folder" ] && found+=("$OUT/$folder"); done
if [ ${#found[@]} -gt 0 ]; then
  rm -f "$OUT/report.done"
  stage report 30 am report "${found[@]}" --out "$OUT/report.html" --csv "$OUT/report.csv"
fi
# By name: the archive itself grows in that folder.
mapfile -t kept < <(cd "$OUT" && ls -A | grep -vxE 'site|cache|day\.tgz')
tar czf "$OUT/day.tgz" -C "$OUT" -- "${kept[@]}" || FAILED="${FAILED:-} archive"
if [ -n "${FAILED:-}" ]; then say "not whole:$FAILED; the same command tries these again"; exit 1; fi
say "the day is whole: $OUT/report.html, all of it in $OUT/day.tgz"
