#!/bin/sh
# Install the wheel beside this script, and leave the torch that is there as it is.
set -eu
here=$(dirname "$0")
kept=$(mktemp)
python -m pip list --format freeze | grep -i '^torch==' > "$kept"
for wheel in "$here"/alignmeter-*.whl; do
    python -m pip install --no-cache-dir --constraint "$kept" "$wheel${1:-}"
done
rm "$kept"
alignmeter devices --require disk
