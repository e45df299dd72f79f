#!/usr/bin/env bash
# Fetch the wheels that a bare GPU box lacks, on a machine with a network: examples/gpu/wheels.
#
#   bash examples/gpu/pack.sh [PYTHON_VERSION]      (3.12 by default, x86-64 Linux)
#
# torch, transformers, peft, pandas and their like are taken for there. At most 60 MiB: QLoRA's
# bitsandbytes is nearly all of it.
set -euo pipefail
VERSION=${1:-3.12}
HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$HERE/wheels"
platforms=()
for glibc in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
  --python-version "$VERSION" "${platforms[@]}" --platform manylinux2014_x86_64 --platform any \
  -d "$HERE/wheels" msgspec platformdirs "filelock>=3.30" "bitsandbytes>=0.49.2" liger-kernel
size=$(du -sm "$HERE/wheels" | cut -f1)
echo "$size MiB in $HERE/wheels"
[ "$size" -le 60 ] || { echo "over 60 MiB: leave bitsandbytes out and the day skips QLoRA" >&2; exit 1; }
