"""Programs of each Triton function at published sizes: ``python tests/trust/grids.py``.

Prints the table of docs/kernels.md. Nothing is launched or timed: what would be launched on a chip
is recorded, and its grid multiplied out.
"""

import math
import sys
from collections.abc import Iterator
from importlib import import_module

import torch

from alignmeter.architectures import open_architecture
from alignmeter_kernels import KERNELS
from alignmeter_kernels.causal_conv1d import inputs as convolutions
from alignmeter_kernels.chips import CHIPS
from alignmeter_kernels.inputs import Case
from alignmeter_kernels.launch import recording
from alignmeter_kernels.linear_logprob import inputs as heads
from alignmeter_kernels.nf4_linear import inputs as quantised
from alignmeter_kernels.selective_scan import inputs as scans
from alignmeter_kernels.ssd_scan import inputs as dual_scans

ON = ("sm_90", "gfx942")
SIZES = ("130m", "370m", "1.4b", "2.8b")
ROWS = (1, 2, 4, 8, 16)
"""Sequences of a step: 1, 2 and 4 in the kernel benchmarks, 4 to 16 in batches of 2 to 8 pairs."""
TOKENS = 1024
_COLUMNS = (("130m", 1), ("130m", 4), ("130m", 16), ("2.8b", 4))


def layers(size: str, rows: int) -> Iterator[tuple[str, Case]]:
    """(kernel, inputs) of a step of ``rows`` sequences: every layer that a model of ``size`` has.

    Log-probs are asked for of the second half of the tokens, as where the prompt takes the first.
    """
    tokens = rows * TOKENS
    mamba = open_architecture("mamba").shapes[size]
    width, vocabulary = mamba["hidden_size"], mamba["vocab_size"]
    inner = mamba["expand"] * width
    yield "selective_scan", scans.case("scan", rows, inner, TOKENS)
    yield "causal_conv1d", convolutions.case("convolution", rows, inner, TOKENS)
    yield "linear_logprob", heads.case("head", tokens // 2, width, vocabulary, frozen=False)
    yield "nf4_linear", quantised.case("in_proj", tokens, 2 * inner, width)
    dual = open_architecture("mamba2").shapes[size]
    yield "ssd_scan", dual_scans.case(
        "scan", rows, TOKENS, dual["num_heads"], dual["n_groups"],
        width=dual["head_dim"], states=dual["state_size"],
    )  # fmt: skip
    llama = open_architecture("llama").shapes[size]
    width, mlp = llama["hidden_size"], llama["intermediate_size"]
    for name, out, into in (("query", width, width), ("up", mlp, width), ("down", width, mlp)):
        yield "nf4_linear", quantised.case(name, tokens, out, into)


def fewest(chip: str, dtype: torch.dtype, size: str, rows: int) -> dict[tuple[str, str], int]:
    """(kernel, function) -> programs of its smallest launch in that step."""
    found: dict[tuple[str, str], int] = {}
    for name, case in layers(size, rows):
        kernel = import_module(KERNELS[name]).KERNEL
        with recording(chip) as launches, torch.no_grad():
            kernel.on_chip(case.make("meta", dtype), dict(case.options))
        for launched in launches:
            key, programs = (name, launched.name), math.prod(launched.grid)
            found[key] = min(found.get(key, programs), programs)
    return found


def table() -> str:
    """The table of docs/kernels.md, in bf16."""
    counted = [[fewest(chip, torch.bfloat16, size, rows) for chip in ON] for size, rows in _COLUMNS]
    titles = [f"{size}, {rows} row{'s' * (rows > 1)}" for size, rows in _COLUMNS]
    units = " and ".join(f"{CHIPS[chip].units} of `{chip}`" for chip in ON)
    lines = [
        f"| programs, beside the units: {units} | {' | '.join(titles)} |",
        f"|---|{'---:|' * len(titles)}",
    ]
    for kernel, function in counted[0][0]:
        figures = [", ".join(str(found[kernel, function]) for found in both) for both in counted]
        lines.append(f"| `{kernel}`: `{function}` | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
