"""Records of made steps: figures that follow from the cell and the device, and from a seed.

Not measured, and no forecast: a device's rates are chosen, so that two of them cross over.
"""

import json
import random
from datetime import datetime, timedelta

from alignmeter.records.folder import record_path, timeline_path
from alignmeter.records.record import (
    OWNERS,
    SCHEMA_VERSION,
    VRAM,
    Energy,
    Memory,
    Numerics,
    Phase,
    Provenance,
    Reason,
    Record,
    Rollout,
    Signal,
    Telemetry,
    Throughput,
    Timing,
    Verdict,
    encode_record,
)
from alignmeter.records.timeline import FIGURE_FIELDS, Mark, Timeline, encode_timeline
from alignmeter.registry import METHODS, load
from alignmeter.session.resolve import resolve_cell

STEPS, WARMUP, SAMPLES = 10, 3, 60
METRICS = ("time", "memory", "energy", "numerics")
PARAMETERS = {"1.4b": 1.4e9, "8b": 8.0e9}
BYTES = {"full": 4.0, "lora": 2.0, "qlora": 0.56}
"""Of a weight that is stored, by PEFT mode."""
PASSES = {"scoring": 3, "reward": 0.5, "backward": 2}
"""Forward passes that a phase is worth, where it is not one."""
ADAPTERS = 0.01
"""Of the weights, those that LoRA trains."""
LAYERS, WIDTH = 32, 3072
NVIDIA = {
    "device": "NVIDIA H200", "form_factor": "SXM", "power_cap_w": 700.0, "driver": "575.57.08",
    "runtime": "CUDA 12.9", "device_memory_bytes": 150_754_820_096,
}  # fmt: skip
AMD = {
    "device": "AMD Instinct MI300X", "form_factor": "OAM", "power_cap_w": 750.0,
    "driver": "6.12.12", "runtime": "ROCm 6.4", "device_memory_bytes": 206_141_652_992,
}  # fmt: skip
PLACES = {"cuda": NVIDIA, "rocm": AMD}
RATES = {
    # accelerator -> FLOP/s of attention, of a scan, bytes/s of sampling, W while steps run
    "cuda": (346e12, 300e12, 2.9e12, 612.0),
    "rocm": (392e12, 240e12, 2.0e12, 655.0),
}
KERNELS = {"model": "transformers", "linear_logprob": "triton"}


def cell_of(**axes):
    return resolve_cell({"data": "packaged", "size": "1.4b", "seq_len": 1024, "batch": 4,
                         "accelerator": "cuda", **axes}).cell  # fmt: skip


def phases_of(cell, draw):
    """Phase -> seconds."""
    attention, scan, sampling, _ = RATES[cell.accelerator]
    rate = attention if cell.architecture == "llama" else scan
    one = 2 * PARAMETERS[cell.size] * cell.step_rows * cell.seq_len / rate
    found = {}
    for name in load(METHODS, cell.method).phases:
        seconds = PASSES.get(name, 1) * one * (1.25 if cell.peft == "qlora" else 1)
        if name == "rollout":
            weights = PARAMETERS[cell.size] * max(BYTES[cell.peft], 2)
            seconds = (cell.seq_len - cell.prompt_len) * weights / sampling
        elif name == "optimizer":
            seconds = 28 * trained(cell) / sampling
        elif name == "backward" and cell.peft != "full":
            seconds *= 0.7
        found[name] = seconds * draw.lognormvariate(0, 0.004)
    return found


def trained(cell):
    return PARAMETERS[cell.size] * (1 if cell.peft == "full" else ADAPTERS)


def ledger_of(cell):
    """Owner -> bytes at the peak, by the rules of mixed precision."""
    weights = PARAMETERS[cell.size] * BYTES[cell.peft]
    row = load(METHODS, cell.method)
    owned = {"policy_weights": weights, "gradients": 4 * trained(cell),
             "optimizer_state": 8 * trained(cell), "batch": 32 * cell.step_rows * cell.seq_len,
             "activations": 40 * LAYERS * cell.step_rows * cell.seq_len * WIDTH / 32}  # fmt: skip
    if cell.peft != "full":
        owned["adapters"] = 4 * trained(cell)
    if cell.peft == "full" and {"ref_forward", "scoring"} & set(row.phases):
        owned["ref_weights"] = weights
    if cell.method == "ppo":
        owned["reward_weights"] = weights
        if cell.ppo_topology == "separate":
            owned |= {"value_weights": weights, "optimizer_state": 16 * trained(cell)}
    if "rollout" in row.phases:
        owned["rollout_cache"] = 4 * LAYERS * cell.step_rows * cell.seq_len * WIDTH
    return {f"{owner}_bytes": int(owned.get(owner, 0)) for owner in OWNERS}


def losses_of(cell):
    """Of every step of one seed, the same on every device."""
    draw = random.Random(cell.name("accelerator"))
    return [0.6931, *(0.69 * draw.lognormvariate(0, 0.02) for _ in range(STEPS + 1))]


def place_of(cell, started, **said):
    usual = {
        **PLACES[cell.accelerator], "host": f"{cell.accelerator}-node", "os": "Linux-6.8",
        "commit": "a" * 40, "environment_digest": f"{cell.accelerator}-1", "run": "made",
        "versions": {"python": "3.12.4", "torch": "2.13.0", "transformers": "5.23.0"},
        "kernel_path": KERNELS, "started": started.isoformat(),
        "command": "alignmeter run --matrix made", "load_before": 0.02, "load_after": 0.03,
    }  # fmt: skip
    return Provenance(**(usual | said))


def step_record(cell, replicate, draw, started, *, slower=1.0, bad=(), **said):
    """One replicate that ran. ``slower``: a factor on all phases; ``bad``: reasons that make its
    time invalid; ``said``: of its provenance.
    """
    phases = {name: seconds * slower for name, seconds in phases_of(cell, draw).items()}
    whole, power = sum(phases.values()), RATES[cell.accelerator][3]
    times = [whole * draw.lognormvariate(0, 0.003) for _ in range(STEPS)]
    middle = sorted(times)[STEPS // 2]
    ledger = ledger_of(cell)
    peak = sum(ledger.values())
    tokens = cell.step_rows * cell.seq_len
    losses = losses_of(cell)
    near = [loss * (1 + 1e-5 * len(cell.accelerator)) for loss in losses]
    generated = None
    if "rollout" in phases:
        generated = cell.step_rows * (cell.seq_len - cell.prompt_len) / middle
    flops = {name: int(2 * PARAMETERS[cell.size] * tokens * PASSES.get(name, 1))
             for name in phases if name not in ("optimizer", "rollout")}  # fmt: skip
    return Record(
        schema_version=SCHEMA_VERSION, status="ok", reason=None, replicate=replicate,
        seed=0, cell=cell,
        timing=Timing(warmup_s=[times[0] * 1.4] * WARMUP, step_s=times, median_s=middle,
                      build_s=4.2, worker_start_s=2.1),
        phases={name: Phase(median_s=seconds, peak_bytes=peak * (9 if name == "backward" else 7)
                            // 9) for name, seconds in phases.items()},
        memory=Memory(kind=VRAM, allocated_peak_bytes=peak, reserved_peak_bytes=peak * 17 // 16,
                      process_peak_bytes=peak * 17 // 16 + 2**29, peak_phase="backward",
                      peak_operator="aten.mm.default"),
        ledger=ledger,
        energy=Energy(source="counter", per_step_j=middle * power, bound_j=middle * 4, scope="gpu",
                      mean_w=power, gaps="subtracted", steps=STEPS, window_s=middle * STEPS,
                      phase_j={name: seconds * power for name, seconds in phases.items()}),
        telemetry=Telemetry(source="made", rate_hz=20.0, samples=SAMPLES),
        throughput=Throughput(trained_tokens_per_s=tokens / middle, padded_tokens_per_s=0.0,
                              generated_tokens_per_s=generated, flops=flops,
                              mfu=sum(flops.values()) / middle / 1e15),
        numerics=Numerics(losses=near, reference_losses=losses[:2], agrees=True, agreement=[
            Signal(name="loss", measured=near[:2], reference=losses[:2], band=0.01)]),
        validity={name: Verdict(ok=not (bad and name == "time"),
                                reasons=list(bad) if name == "time" else []) for name in METRICS},
        provenance=place_of(cell, started, **said),
        rollout=Rollout(step_share=phases["rollout"] / whole) if "rollout" in phases else None,
    )  # fmt: skip


def failed_record(cell, replicate, started, status, code, text, **said):
    """One replicate that did not run, and why."""
    why = Reason(code=code, text=text)
    none = Verdict(ok=False, reasons=[why])
    return Record(
        schema_version=SCHEMA_VERSION, status=status, reason=why, replicate=replicate,
        seed=0, cell=cell, timing=Timing(), phases={}, memory=Memory(kind=VRAM), ledger={},
        energy=Energy(source="none", reason=why), throughput=Throughput(), numerics=Numerics(),
        validity=dict.fromkeys(METRICS, none), provenance=place_of(cell, started, **said),
    )  # fmt: skip


def timeline_of(record, draw):
    """Power and memory of a build, warm-up and the timed steps, read 20 times a second."""
    seconds = SAMPLES / 20
    stages = (("build", 0.0, 0.3), ("warmup", 0.3, 0.5), ("timed", 0.5, 1.0))
    marks = [Mark(stage=name, start_s=seconds * a, end_s=seconds * b) for name, a, b in stages]
    marks += _phases(record, seconds / 2)
    samples = []
    for k in range(SAMPLES):
        share = k / SAMPLES
        busy = min(1.0, max(0.0, (share - 0.3) / 0.1))
        power = 110 + busy * (record.energy.mean_w - 110) * draw.uniform(0.95, 1.0)
        used = record.memory.process_peak_bytes * (0.1 + 0.9 * busy)
        read = {
            "power_w": round(power, 1),
            "memory_used_bytes": int(used),
            "memory_process_bytes": int(used),
            "clock_mhz": 1980.0,
            "temperature_c": 58.0,
        }
        samples.append({"time_s": k / 20, **dict.fromkeys(FIGURE_FIELDS), **read, "throttles": ""})
    return Timeline(marks=marks, samples=samples)


def _phases(record, start):
    """Marks of the phases of as many steps as the timed half has room for."""
    marks, at, step = [], start, 0
    while at + record.timing.median_s <= 2 * start:
        for name, phase in record.phases.items():
            end = at + phase.median_s
            marks.append(Mark(stage="timed", start_s=at, end_s=end, step=step, phase=name))
            at = end
        step += 1
    return marks


def later(started, number, minutes=1):
    """The start of the ``number``-th replicate of a run."""
    return started + timedelta(minutes=minutes * number)


def write_run(folder, records, draw):
    """A run's folder as `alignmeter run` leaves it; without its fsync."""
    folder.mkdir(parents=True, exist_ok=True)
    first = records[0].provenance
    said = {"schema_version": 1, "run": first.run, "matrix": "made", "axes": {},
            "command": first.command, "host": first.host, "started": first.started}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(said, indent=1) + "\n")
    for record in records:
        path = record_path(folder, record.cell.id, record.replicate)
        path.write_bytes(encode_record(record))
        if record.status == "ok" and record.replicate == 0:
            timeline_path(path).write_bytes(encode_timeline(timeline_of(record, draw)))


def at(text):
    """A moment in UTC."""
    return datetime.fromisoformat(text + "+00:00")
