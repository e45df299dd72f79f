"""Fourteen made nights of one host: ``python tests/reports/made_nights.py DIR``.

The driver changes before night 6, which moves every time by a percent. One cell is slower from
night 9 on. In the last night one cell is missing, one is out of memory, and one time is invalid.
"""

import random
import sys
from datetime import timedelta
from itertools import product
from pathlib import Path

from made_steps import at, cell_of, failed_record, later, step_record, write_run

from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason

SEED, NIGHTS, REPLICATES = 20260302, 14, 3
FIRST = at("2026-03-01T01:00:00")
DRIVER_NIGHT, SLOWER_NIGHT = 6, 9
"""Counted from 1: the first night with the new driver, and the first of the slow-down."""
DRIVERS = ("570.133.20", "575.57.08")
SLOWER, BY = ("dpo", "mamba", "full"), 1.08
MISSING = ("sft", "mamba", "lora")
OUT_OF_MEMORY = ("ppo", "llama", "full")
INVALID = ("grpo", "llama", "lora")
LOADED = Reason(code=Code.HOST_LOADED, text="others used 38 % of the cores, median of 10 steps")
CELLS = tuple(product(("sft", "dpo", "ppo", "grpo"), ("llama", "mamba"), ("full", "lora")))


def night_records(number, draw, cells=CELLS, replicates=REPLICATES):
    """The records of the night of that number, counted from 1."""
    started, last = FIRST + timedelta(days=number - 1), number == NIGHTS
    new = number >= DRIVER_NIGHT
    said = {"driver": DRIVERS[new], "environment_digest": f"cuda-{1 + new}",
            "run": f"night-{number:02}", "commit": f"{number:02x}" * 20}  # fmt: skip
    found = []
    for (method, architecture, peft), k in product(cells, range(replicates)):
        named = method, architecture, peft
        cell, when = cell_of(method=method, architecture=architecture, peft=peft), later(started, k)
        slower = (0.99 if new else 1.0) * draw.lognormvariate(0, 0.004)
        if named == SLOWER and number >= SLOWER_NIGHT:
            slower *= BY
        if last and named == MISSING:
            continue
        if last and named == OUT_OF_MEMORY:
            found.append(failed_record(
                cell, k, when, "oom", Code.OUT_OF_MEMORY,
                "the allocator could not serve 5.2 GiB; 136.0 of 140.4 GiB in use", **said,
            ))  # fmt: skip
            continue
        bad = [LOADED] if last and named == INVALID else []
        found.append(step_record(cell, k, draw, when, slower=slower, bad=bad, **said))
    return found


def write_nights(folder, **chosen):
    """A folder a night below ``folder``; ``chosen``: as `night_records` takes them."""
    draw = random.Random(SEED)
    for number in range(1, NIGHTS + 1):
        records = night_records(number, draw, **chosen)
        write_run(folder / f"{records[0].provenance.started[:10]}", records, draw)
    return folder


if __name__ == "__main__":
    write_nights(Path(sys.argv[1]))
