"""What a store of many records costs: ``python tests/trust/store.py 100000 [URL] [--parts]``.

Records are made from docs/sample: each of its cells on several nodes, a run a night, with times
that have 1.5 % of noise; the last third of the nights is a tenth slower on one node. They are
written as files some nights at a time, compacted, and removed, so that the disk holds the store
alone; ``TMPDIR=/dev/shm`` keeps a slow disk out of it. Then comes `alignmeter history` over all, in
a process of its own, with a URL of PostgreSQL also the export, twice. Beside each time stand the
seconds of a processor, which other work on the machine does not change, and the largest resident
set. With ``--parts`` the store's files are made without a file for each record (`store_parts`): a
million of them take an hour, and what reads the store costs the same.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from store_parts import fill_by_parts

from alignmeter.records.folder import load_folders
from alignmeter.records.record import encode_record
from alignmeter.store.compact import compact
from alignmeter.store.export import export

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
NODES = 50
"""Runs of a night: each node's own."""
AT_ONCE = 20_000
"""Records that lie as files at one time."""


def made(count: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """So many records, as (run, file, document), run by run."""
    rng = random.Random(1)
    documents = [json.loads(encode_record(r)) for r in load_folders([SAMPLE]).records]
    nights = -(-count // (NODES * len(documents)))
    first = datetime(2025, 1, 1, 1, tzinfo=UTC)
    left = count
    for night in range(nights):
        started = first + timedelta(days=night)
        for node in range(NODES):
            for document in documents[:left]:
                slow = 1.1 if node == 0 and night >= 2 * nights // 3 else 1.0
                by = slow * rng.lognormvariate(0.0, 0.015)
                yield _placed(document, node, started + timedelta(seconds=node), by)
            left -= min(left, len(documents))


def _placed(
    document: dict[str, Any], node: int, started: datetime, by: float
) -> tuple[str, str, dict[str, Any]]:
    run = f"{started:%Y-%m-%d}/node-{node:02d}"
    place = {**document["provenance"], "host": f"node-{node:02d}", "run": run}
    rate = document["throughput"]["trained_tokens_per_s"] / by
    steps = [seconds * by for seconds in document["timing"]["step_s"]]
    median = sorted(steps)[len(steps) // 2]
    changed = {
        **document,
        "timing": {**document["timing"], "step_s": steps, "median_s": median},
        "provenance": {**place, "started": started.isoformat()},
        "throughput": {**document["throughput"], "trained_tokens_per_s": rate},
    }
    return run, f"{document['cell']['id']}.r{document['replicate']}.json", changed


def _fill(store: Path, count: int) -> "_Cost":
    """What compaction alone took."""
    cost, waiting = _Cost(), 0
    folder = store.with_name("runs")
    for number, (run, name, document) in enumerate(made(count), 1):
        place = folder / run
        if not place.is_dir():
            place.mkdir(parents=True)
            (place / "run.json").write_text(json.dumps({"schema_version": 1, "run": run}))
        (place / name).write_bytes(msgspec.json.encode(document))
        waiting += 1
        if number == count or (waiting >= AT_ONCE and number % 36 == 0):
            with cost:
                done = compact(folder, store)
            if done.records != waiting or done.refused:
                raise SystemExit(f"{waiting} records were written, {done} compacted")
            shutil.rmtree(folder)
            waiting = 0
    return cost


class _Cost:
    """Of what is done within it, or by processes that end within it."""

    def __init__(self) -> None:
        self._wall = self._processor = 0.0

    def __enter__(self) -> None:
        self._wall -= time.monotonic()
        self._processor -= _processor_s()

    def __exit__(self, *_: object) -> None:
        self._wall += time.monotonic()
        self._processor += _processor_s()

    def text(self, who: int = resource.RUSAGE_SELF) -> str:
        """Largest resident set: of this process so far, or of those that it started."""
        largest = resource.getrusage(who).ru_maxrss / 2**20
        return f"{self._wall:.1f} s ({self._processor:.1f} s of a processor), {largest:.2f} GiB"


def _processor_s() -> float:
    return sum(os.times()[:4])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(count: int, url: str | None, *, parts: bool) -> None:
    """Print a line per figure."""
    with tempfile.TemporaryDirectory(prefix="alignmeter-store-") as place:
        store = Path(place) / "store"
        if parts:
            fill_by_parts(store, made(count))
            _say(f"made: {count} records; {_size(store) / 2**20:.0f} MiB")
        else:
            cost = _fill(store, count)
            _say(f"compact: {count} records, {cost.text()}; {_size(store) / 2**20:.0f} MiB")
        for _ in range(0 if url is None else 2):
            with (cost := _Cost()):
                sent = export(store, str(url))
            _say(f"export: {sent.sent} sent, {sent.new} new, {cost.text()}")
        command = [sys.executable, "-P", "-m", "alignmeter", "history", str(store)]
        with (cost := _Cost()):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures = cost.text(resource.RUSAGE_CHILDREN)
        _say(f"history: {figures}: {done.stdout.splitlines()[0]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--parts", action="store_true")
    asked = parser.parse_args()
    main(asked.count, asked.url, parts=asked.parts)
