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
# the stages that have none. A stage that fails does not end the day; its log says why.
#
# From the environment: PYTHON (python3), DAY_SIZE of the plan's truth (1.4b), DAY_STAGES (all of
# them), DAY_AXES, further options of every cell ("--kernels stock"), DAY_SCALE, a factor on all time
# limits (1).
set -uo pipefail

OUT=${1:?usage: bash examples/gpu/day.sh OUT [cuda|rocm|xpu]}
ACCELERATOR=${2:-cuda}
PYTHON=${PYTHON:-python3}
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd)
SITE=$OUT/site
BEGAN=$(date +%s)
export PYTHONPATH="$ROOT/bench:$ROOT/kernels:$ROOT/reports:$SITE${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRITON_CACHE_DIR=$OUT/cache/triton XDG_CACHE_HOME=$OUT/cache

say() { echo "[$(($(date +%s) - BEGAN)) s] $*"; }
am() { "$PYTHON" -P -m alignmeter "$@"; }

# stage NAME SECONDS COMMAND...: its output goes to OUT/NAME.log.
stage() {
  local name=$1 limit=$(($2 * ${DAY_SCALE:-1})); shift 2
  case " ${DAY_STAGES:-$name} " in *" $name "*) ;; *) say "$name: not asked for"; return 0 ;; esac
  if [ -e "$OUT/$name.done" ]; then say "$name: done before"; return 0; fi
  export -f am say; export PYTHON OUT HERE ACCELERATOR
  timeout -k 10 "$limit" bash -c '"$@"' _ "$@" > "$OUT/$name.log" 2>&1
  local status=$?
  if [ $status = 0 ]; then touch "$OUT/$name.done"; say "$name: ok"; return 0; fi
  say "$name: status $status (124: over $limit s); see $OUT/$name.log"
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
tar czf "$OUT/day.tgz" -C "$OUT" --exclude=./site --exclude=./cache --exclude=./day.tgz .
if [ -n "${FAILED:-}" ]; then say "not whole:$FAILED; the same command tries these again"; exit 1; fi
say "the day is whole: $OUT/report.html, all of it in $OUT/day.tgz"
