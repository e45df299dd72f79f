"""What of the GPU branch runs where, with the test that shows it: docs/gpu-readiness.md.

    python tests/trust/readiness.py > docs/gpu-readiness.md

A part that was measured on hardware has a record of that accelerator below ``docs/results``.
"""

__all__ = ["ROWS", "missing_tests", "page"]

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
VENDORS = {"cuda": "NVIDIA", "rocm": "AMD", "xpu": "Intel"}
LEVELS = {
    "pretended": "torch runs on a device of that type whose memory is the host's "
    "(`tests/pretend`): its dispatch, threads, allocator, events and refusals are real, its "
    "kernels are the CPU's",
    "interpreter": "Triton's interpreter runs the kernel with that chip's tiles: its figures are "
    "right, its speed and its instructions are not looked at",
    "compiled": "Triton compiles the kernel for that chip: registers, spills, shared memory and "
    "matrix instructions are read from the result, nothing is run",
    "stub": "the vendor's own client reads a library of ours that follows a script",
}


class Row(NamedTuple):
    """``shown``: accelerator -> (level, test file below ``tests``, test in it)."""

    part: str
    shown: dict[str, tuple[str, str, str]]


_DEVICE = "pretend/test_device.py"
_TRAINING = "pretend/test_training.py"
_MATRICES = "pretend/test_matrices.py"
_OPERATORS = "pretend/test_operators.py"
_RANKS = "pretend/test_ranks.py"


def _all(level: str, file: str, test: str, *vendors: str) -> dict[str, tuple[str, str, str]]:
    return dict.fromkeys(vendors or VENDORS, (level, file, test))


ROWS = (
    Row("allocator, events, streams, the backward pass's thread", _all(
        "pretended", _DEVICE, "test_a_model_trains_on_it_and_its_allocator_keeps_count")),
    Row("DPO and PPO on a Transformer and two state-space models: ledger, agreement, delta", {
        "cuda": ("pretended", _TRAINING, "test_every_model_and_both_methods_of_the_delta"),
        **_all("pretended", _MATRICES, "test_other_vendors", "rocm", "xpu")}),
    Row("quick, methods and delta matrices", _all(
        "pretended", _MATRICES, "test_a_packaged_matrix", "cuda")),
    Row("QLoRA (bitsandbytes' operators for any device)", _all(
        "pretended", _MATRICES, "test_a_packaged_matrix", "cuda")),
    Row("plan beside measurement, energy window, resumption", _all(
        "pretended", _TRAINING, "test_a_plan_a_second_replicate_and_a_resumption", "cuda")),
    Row("out of memory in a step and in a library", _all(
        "pretended", _TRAINING, "test_a_step_without_memory_is_a_record", "cuda")),
    Row("capacity search", _all("pretended", _TRAINING,
        "test_a_search_ends_between_what_ran_and_what_ran_out_of_memory", "cuda")),
    Row("one rank of two: shares, peaks and their plan, models made block by block", {
        **_all("pretended", _RANKS,
               "test_a_rank_takes_its_steps_with_half_of_the_weights_as_it_was_planned", "cuda"),
        **_all("pretended", _RANKS, "test_other_vendors_ranks_do_too", "rocm", "xpu"),
    }),
    Row("every operator through torch, bf16 and fp32", _all(
        "interpreter", _OPERATORS, "test_every_operator_is_right_with_the_tiles_of",
        "cuda", "rocm")),
    Row("custom kernels in training steps of three models", _all(
        "interpreter", _MATRICES, "test_custom_kernels_train_as_the_cpu_does", "cuda")),
    Row("every kernel for every chip", _all(
        "compiled", "kernels/test_portability.py", "test_every_kernel_on_every_chip",
        "cuda", "rocm")),
    Row("power, energy, memory, clocks, throttling, identity", {
        "cuda": ("stub", "bench/telemetry/test_nvml.py", "test_a_reading_is_what_the_trace_says"),
        "rocm": ("stub", "bench/telemetry/test_amd.py",
                 "test_energy_is_the_trace_s_and_has_the_counter_s_own_time"),
        "xpu": ("stub", "bench/telemetry/test_intel.py", "test_an_xe_card"),
    }),
    Row("the GPU day", _all("pretended", "pretend/test_gpu_day.py", "test_the_whole_day", "cuda")),
)  # fmt: skip
NOT_PRETENDED = (
    "Attention: torch takes plain products (`math`) on the pretended device. Flash, "
    "memory-efficient and cuDNN attention, their workspaces and their order of sums never ran.",
    "Time: nothing is asynchronous but events, and speed means nothing.",
    "Kernels of torch, cuBLAS, bitsandbytes, mamba-ssm, causal-conv1d and Liger for a GPU.",
    "Compiled Triton code: what runs is the interpreter, what is compiled is not run.",
    "What goes between devices: nccl and xccl, their buffers and their time. A rank's collectives "
    "move nothing on the pretended device.",
    "MIG slices, partitions and a device that somebody else uses, beyond what the "
    "stubs of the vendors' libraries tell of them.",
    "A driver: its context, its fork rules are those that torch documents, and its failures.",
)


def missing_tests() -> list[str]:
    """``file::test`` of the rows that no test file has."""
    named = {(file, test) for row in ROWS for _, file, test in row.shown.values()}
    return [f"{file}::{test}" for file, test in sorted(named) if test not in _tests(file)]


def _tests(file: str) -> set[str]:
    path = ROOT / "tests" / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _measured(vendor: str) -> int:
    """Records that ran well on hardware of that accelerator."""
    found = 0
    for path in RESULTS.glob("**/*.r?.json"):
        record = json.loads(path.read_bytes())
        found += record["status"] == "ok" and record["cell"]["accelerator"] == vendor
    return found


def page() -> str:
    """The page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    counts = {vendor: _measured(vendor) for vendor in VENDORS}
    yield from ("# How ready for a GPU", "")
    yield from ("What has run on a GPU, and what stands in for one?", "", _hardware(counts), "")
    yield f"| part | {' | '.join(f'{name} (`{key}`)' for key, name in VENDORS.items())} |"
    yield "|---|" + "---|" * len(VENDORS)
    for row in ROWS:
        cells = (row.shown.get(vendor, ("-",))[0] for vendor in VENDORS)
        yield f"| {row.part} | {' | '.join(cells)} |"
    yield from ("", *(f"- **{level}**: {text}." for level, text in LEVELS.items()))
    yield from ("- **-**: shown nowhere.", "", "## Shown by", "")
    for row in ROWS:
        tests = dict.fromkeys(f"`tests/{file}::{test}`" for _, file, test in row.shown.values())
        yield f"- {row.part}: {', '.join(tests)}"
    yield from ("", "## What cannot be pretended", "", *(f"- {text}" for text in NOT_PRETENDED))
    yield from (
        "",
        "Generated by `python tests/trust/readiness.py`; a test holds it to be today's.",
    )


def _hardware(counts: dict[str, int]) -> str:
    measured = [f"{n} records on {VENDORS[v]}" for v, n in counts.items() if n]
    if not measured:
        return (
            "**Nothing of this has run on hardware.** No record of a GPU is below `docs/results`. "
            "The first day on one is `bash examples/gpu/day.sh OUT`."
        )
    return f"On hardware: {', '.join(measured)} below `docs/results`."


if __name__ == "__main__":
    sys.stdout.write(page())
