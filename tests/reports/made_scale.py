"""Reports at size: ``python tests/reports/made_scale.py`` prints bytes, seconds and peak memory.

Figures of made records of real size, drawn from a seed. Each size runs in a process of its own.
Where Chromium and playwright are, `made_paint` prints how soon the page of 200 cells is there.
"""

import argparse
import importlib.util
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from made_cells import make_cell_records

from alignmeter.records.folder import load_folders
from alignmeter.records.garbage import keep
from alignmeter.records.record import (
    Numerics,
    Phase,
    Provenance,
    Reason,
    Signal,
    Telemetry,
    encode_record,
)
from alignmeter_reports import write_report

SEED = 20260102
NIGHT_CELLS, REPLICATES = 90, 3
LAYOUTS = [("dpo", {}), ("sft", {}), ("rm", {})] + [
    ("ppo", {"ppo_topology": topology, "ppo_backward": backward})
    for topology, backward in (("separate", "joint"), ("shared", "joint"), ("shared", "sequential"))
]
PHASES = ("rollout", "scoring", "forward", "backward", "optimizer")
SHARES = (0.4, 0.1, 0.2, 0.25, 0.05)
FAILED = 0.02
"""Share of replicates that ran out of memory."""


def cells(count):
    """One plain record for each of ``count`` different cells."""
    axes = product(
        ("fp32", "bf16"), (128, 256, 512, 1024), ("full", "lora", "qlora"), ("llama", "mamba"),
        LAYOUTS,
    )  # fmt: skip
    return [
        make_cell_records([0.1], architecture=architecture, peft=peft, precision=precision,
                          seq_len=length, method=method, **layout)[0]
        for precision, length, peft, architecture, (method, layout) in islice(axes, count)
    ]  # fmt: skip


def varied(record, replicate, day, draw):
    """The record with figures of its own, as many of them as a real one has."""
    seconds = [0.1 * record.cell.seq_len / 128 * draw.lognormvariate(0, 0.02) for _ in range(20)]
    median = sorted(seconds)[10]
    peak = int(2**28 * record.cell.seq_len / 128 * (2 if record.cell.method == "ppo" else 1))
    ledger = {**record.ledger, "policy_weights_bytes": peak // 2}
    ledger["activations_bytes"] = 0
    ledger["activations_bytes"] = peak - sum(ledger.values())
    losses = [0.7 * draw.lognormvariate(0, 0.1) for _ in range(24)]
    found = replace(
        record, replicate=replicate, seed=replicate, ledger=ledger,
        timing=replace(record.timing, step_s=seconds, warmup_s=seconds[:5], median_s=median),
        memory=replace(record.memory, allocated_peak_bytes=peak, reserved_peak_bytes=peak * 9 // 8),
        phases={
            name: Phase(median_s=median * share, peak_bytes=int(peak * draw.uniform(0.5, 1)))
            for name, share in zip(PHASES, SHARES, strict=True)
        },
        throughput=replace(
            record.throughput, trained_tokens_per_s=4 * record.cell.seq_len / median,
            flops={name: draw.randrange(10**12) for name in PHASES},
        ),
        numerics=Numerics(losses=losses, agrees=True, agreement=[
            Signal(name=name, measured=losses[:8], reference=losses[:8], band=0.01)
            for name in ("loss", "margin", "gradient norm")
        ]),
        telemetry=Telemetry(missing=dict.fromkeys(PHASES, "the library does not say")),
        provenance=place(day, draw),
    )  # fmt: skip
    if draw.random() >= FAILED:
        return found
    reason = Reason(code="out_of_memory", text="the allocator could not serve 2 GiB")
    nothing = replace(record.memory, allocated_peak_bytes=None)
    return replace(found, status="oom", reason=reason, memory=nothing, ledger={}, phases={})


def place(day, draw):
    """Where a night's record comes from; the software changes each 60 days."""
    started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_767_225_600 + 86_400 * day))
    return Provenance(
        device="cpu", environment_digest=f"{day // 60:016x}", host="node-1", started=started,
        commit=f"{day:040x}", os="Linux 6.1", threads=2, load_before=draw.uniform(0, 0.1),
        versions={f"package-{k}": f"{k}.{day // 60}.0" for k in range(40)},
        kernel_path={f"operator_{k}": "stock" for k in range(20)},
        hyperparameters={f"parameter_{k}": k / 7 for k in range(20)},
        environment={f"VARIABLE_{k}": str(k) for k in range(10)},
        command="alignmeter run --matrix nightly --replicates 3",
    )  # fmt: skip


def write_nights(folder, count, night_cells=NIGHT_CELLS, replicates=REPLICATES):
    """Files of ``count`` records, a folder a night; returns the mean bytes of one."""
    draw, plain, total = random.Random(SEED), cells(night_cells), 0
    night = night_cells * replicates
    for k in range(count):
        day, rest = divmod(k, night)
        which, replicate = divmod(rest, replicates)
        data = encode_record(varied(plain[which], replicate, day, draw))
        if rest == 0:
            (folder / f"{day:04}").mkdir(parents=True)
        name = f"{plain[which].cell.id}.r{replicate}.json"
        (folder / f"{day:04}" / name).write_bytes(data)
        total += len(data)
    return total / count


def report(folder, page):
    """Read the folder, write page and CSV, print what it took. A fresh process each time."""
    start = time.perf_counter()
    loaded = load_folders([folder])
    keep()  # as the command does
    read = time.perf_counter()
    write_report(loaded, page, page.with_suffix(".csv"))
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(  # noqa: T201
        f"{len(loaded.records)} records: read {read - start:.1f} s, write {end - read:.1f} s, "
        f"together {end - start:.1f} s; peak RSS {peak:.2f} GiB; page "
        f"{page.stat().st_size / 1e6:.2f} MB; refused {len(loaded.refused)}",
        flush=True,
    )


def measure(count, night_cells, replicates, *, paint=False):
    """One size from its files to its page, all of them deleted afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "records"
        mean = write_nights(folder, count, night_cells, replicates)
        print(f"{count} records of {mean / 1e3:.1f} kB", flush=True)  # noqa: T201
        subprocess.run(
            [sys.executable, __file__, "--folder", folder, "--page", f"{name}/r.html"], check=True
        )
        if paint and shutil.which("chromium") and importlib.util.find_spec("playwright"):
            script = Path(__file__).with_name("made_paint.py")
            subprocess.run([sys.executable, script, f"{name}/r.html"], check=True)
        elif paint:
            print("first paint: not measured; takes chromium and playwright")  # noqa: T201


def main():
    """``--folder`` and ``--page``: one report of files that are there; else each of ``--sizes``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[25_000, 50_000, 100_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    if given.folder is not None:
        report(given.folder, given.page)
        return
    measure(200 * 5, 200, 5, paint=True)
    for count in given.sizes:
        measure(count, NIGHT_CELLS, REPLICATES)


if __name__ == "__main__":
    main()
