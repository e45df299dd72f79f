"""A made night of two devices of two vendors: ``python tests/reports/made_vendors.py DIR``.

Every method, architecture and PEFT mode. MI300X is faster than H200 where a llama step only
computes (DPO), and slower where it samples (PPO). One time is invalid, one cell is unsupported on
one device, and one is out of memory on the device with less of it.
"""

import random
import sys
from itertools import product
from pathlib import Path

from made_steps import at, cell_of, failed_record, later, step_record, write_run

from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES

SEED, REPLICATES = 20260301, 3
STARTED = at("2026-03-01T01:00:00")
DEVICES = ("cuda", "rocm")
INVALID = {"method": "grpo", "architecture": "llama", "peft": "full", "accelerator": "rocm"}
UNSUPPORTED = {"method": "distill", "architecture": "hybrid", "peft": "qlora",
               "accelerator": "rocm"}  # fmt: skip
OUT_OF_MEMORY = {"method": "dpo", "size": "8b", "peft": "full", "accelerator": "cuda"}
THROTTLED = Reason(code=Code.THROTTLED, text="thermal: the clock fell to 1450 MHz in 4 of 10 steps")


def chosen_axes(methods=tuple(METHODS), architectures=tuple(ARCHITECTURES),
                modes=tuple(PEFT_MODES)):  # fmt: skip
    """The axes of every cell of one device, as they are named."""
    for method, architecture, peft in product(methods, architectures, modes):
        yield {"method": method, "architecture": architecture, "peft": peft}
    layouts = (("shared", "joint"), ("shared", "sequential"))
    for peft, (topology, backward) in product(modes, layouts):
        yield {"method": "ppo", "architecture": "llama", "peft": peft, "ppo_topology": topology,
               "ppo_backward": backward}  # fmt: skip
    for method, peft in product(("dpo", "ppo"), modes):
        yield {"method": method, "architecture": "llama", "peft": peft, "seq_len": 2048,
               "batch": 8}  # fmt: skip
    for method, peft in (("dpo", "full"), *product(("dpo", "ppo"), ("lora", "qlora"))):
        yield {"method": method, "architecture": "llama", "peft": peft, "size": "8b"}


def has(axes, wanted):
    return all(axes.get(name) == value for name, value in wanted.items())


def vendor_records(draw, replicates=REPLICATES, **chosen):
    """The records of both devices; ``chosen``: as `chosen_axes` takes them, for a smaller set."""
    found = []
    for accelerator in DEVICES:
        for axes in chosen_axes(**chosen):
            named = {**axes, "accelerator": accelerator}
            cell = cell_of(**named)
            for k in range(replicates):
                started = later(STARTED, k)
                if has(named, UNSUPPORTED):
                    found.append(failed_record(
                        cell, k, started, "unsupported", Code.LIBRARY_MISSING,
                        "bitsandbytes has no build for gfx942; install alignmeter[qlora]",
                    ))  # fmt: skip
                elif has(named, OUT_OF_MEMORY):
                    found.append(failed_record(
                        cell, k, started, "oom", Code.OUT_OF_MEMORY,
                        "the allocator could not serve 29.8 GiB; 121.4 of 140.4 GiB in use",
                    ))  # fmt: skip
                else:
                    bad = [THROTTLED] if has(named, INVALID) else []
                    found.append(step_record(cell, k, draw, started, bad=bad))
    return found


def write_vendors(folder, **chosen):
    """A folder a device below ``folder``."""
    draw = random.Random(SEED)
    records = vendor_records(draw, **chosen)
    for accelerator in DEVICES:
        mine = [record for record in records if record.cell.accelerator == accelerator]
        write_run(folder / accelerator, mine, draw)
    return folder


if __name__ == "__main__":
    write_vendors(Path(sys.argv[1]))
