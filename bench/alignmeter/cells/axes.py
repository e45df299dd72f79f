"""The axes a cell is chosen on: one row each, with its values, its default and its help text."""

__all__ = [
    "AXES", "HEAD", "LENGTHS", "PATHS", "RANDOM", "SAME", "Axis", "AxisValue", "no_table",
    "path_of",
]  # fmt: skip

from alignmeter.cells.axis import Axis, AxisValue
from alignmeter.cells.columns import AUTO
from alignmeter.cells.device_axes import DEVICE_AXES
from alignmeter.cells.method_axes import METHOD_AXES, REWARDS, SAME, SIZES
from alignmeter.errors import known
from alignmeter.registry import (
    ACCELERATORS,
    ARCHITECTURES,
    LORA_TARGETS,
    METHODS,
    OPTIMIZERS,
    PEFT_MODES,
    PRECISIONS,
    default_name,
)
from alignmeter.text import shortened

HEAD = ("method", "architecture", "size", "peft", "accelerator")
"""Axes that every id begins with."""
RANDOM = "random"
"""``model`` of a cell whose weights are drawn, not read."""
LENGTHS = "lengths:"
"""``data`` that begins so is drawn at the lengths of a packaged table."""
PATHS: dict[str, tuple[str, ...]] = {
    "data": ("packaged", "synthetic", f"{LENGTHS}hh"),
    "model": (RANDOM,),
    "reward": REWARDS,
    "teacher": (SAME, *SIZES),
}
"""Axes that hold paths -> their words, which win over a file of that name (``./packaged``)."""


_ROWS = (
    Axis(
        name="method",
        choices=tuple(METHODS),
        default=default_name(METHODS),
        help="alignment method",
    ),
    Axis(
        name="architecture",
        choices=tuple(ARCHITECTURES),
        default=default_name(ARCHITECTURES),
        help="model family",
    ),
    Axis(
        name="size",
        choices=SIZES,
        default="tiny",
        help="model size; within a size the parameter counts match within 2 %",
    ),
    Axis(
        name="model",
        default=RANDOM,
        help="random weights at --size, or a model: a folder or hub id (safetensors only), or a "
        "config.json alone, whose weights are drawn",
    ),
    Axis(
        name="peft",
        choices=tuple(PEFT_MODES),
        default=default_name(PEFT_MODES),
        help="what is trained: all weights, adapters, or adapters on NF4 weights",
    ),
    Axis(
        name="accelerator",
        choices=("auto", *ACCELERATORS),
        default="auto",
        help=f"device; auto takes the first of {', '.join(ACCELERATORS)} that is here",
    ),
    Axis(
        name="kernels",
        choices=("custom", "stock", "vendor"),
        default="custom",
        omitted="custom",
        help="operators of the model: this project's kernels, transformers as installed, or "
        "mamba-ssm, causal-conv1d, flash-attn and Liger",
    ),
    Axis(
        name="seq_len",
        slug="t{}",
        integer=True,
        default=64,
        omitted=64,
        minimum=4,
        help="tokens per sequence, T",
    ),
    Axis(
        name="prompt_len",
        slug="p{}",
        integer=True,
        help="prompt tokens per sequence, P (default T/2)",
    ),
    Axis(
        name="batch",
        slug="b{}",
        integer=True,
        default=2,
        omitted=2,
        help="pairs per step, B: 2B sequences of T tokens",
    ),
    Axis(
        name="batching",
        choices=("fixed", "padded", "bucketed", "packed"),
        default="fixed",
        omitted="fixed",
        help="rows of T tokens with prompts of P; or of their own lengths, padded to the batch's "
        "longest, with rows of like length, or one after the other without padding",
    ),
    Axis(
        name="precision",
        choices=tuple(PRECISIONS),
        help="number format (default by --accelerator and --peft)",
    ),
    Axis(
        name="checkpointing",
        choices=("off", "on"),
        default="off",
        omitted="off",
        help="recompute activations in the backward pass",
    ),
    Axis(
        name="deterministic",
        slug="deterministic-{}",
        choices=("off", "on"),
        default="off",
        omitted="off",
        help="deterministic algorithms only: the same bits every time, also on a GPU",
    ),
    Axis(
        name="optimizer",
        choices=tuple(OPTIMIZERS),
        default=default_name(OPTIMIZERS),
        omitted="adamw",
        help="what updates the weights: AdamW, the same with 8-bit states of bitsandbytes, on the "
        "device or paged, Adafactor, or Muon on inner matrices and AdamW on all else",
    ),
    Axis(
        name="optimizer_impl",
        choices=("fused", "foreach", "single"),
        default="fused",
        omitted="fused",
        help="how torch computes AdamW's step: all in one kernel, operator by operator on all "
        "weights, or weight by weight",
    ),
    Axis(
        name="lora_rank",
        slug="r{}",
        integer=True,
        default=16,
        omitted=16,
        help="rank of the adapters",
    ),
    Axis(
        name="lora_targets",
        slug="on-{}",
        choices=tuple(LORA_TARGETS),
        other="names of layers with + between them: q_proj+o_proj",
        default="all-linear",
        omitted="all-linear",
        help="layers that get adapters: every linear one that can, attention's, its queries and "
        "values, the MLP's, or NAME+NAME",
    ),
    Axis(
        name="lora_dropout",
        slug="drop-{}",
        other="a share from 0 to below 1",
        default="0",
        omitted="0",
        help="share of an adapter's inputs that training drops, from 0 to below 1",
    ),
    Axis(
        name="quantiser",
        choices=("nf4-double-64",),
        default="nf4-double-64",
        omitted="nf4-double-64",
        help="4-bit format of qlora: type, double quantisation, block size",
    ),
    Axis(
        name="embeddings",
        slug="embeddings-{}",
        choices=("base", "float32"),
        default="base",
        omitted="base",
        help="weights that qlora does not pack: in the base's number format, or in fp32, as "
        "peft's prepare_model_for_kbit_training leaves them",
    ),
    *METHOD_AXES,
    *DEVICE_AXES,
    Axis(
        name="lane",
        slug="lane-{}",
        default="out-of-box",
        omitted="out-of-box",
        help="name of the tuning lane, shown in every row",
    ),
    Axis(
        name="data",
        default="packaged",
        help="packaged (real preference text), synthetic, lengths:hh (synthetic, as long as the "
        "texts of HH-RLHF), or a file or folder of JSON Lines, JSON, CSV or Parquet",
    ),
    Axis(
        name="columns",
        slug="",  # the digest of the data covers it
        default=AUTO,
        omitted=AUTO,
        several=False,
        help="columns of --data by field, where their names do not say: "
        "prompt=NAME,chosen=NAME,rejected=NAME, or prompt=NAME,completion=NAME,label=NAME",
    ),
)

AXES: dict[str, Axis] = {axis.name: axis for axis in _ROWS}


def no_table(data: str) -> str:
    """The words that say so of ``data`` that begin as those of a table of lengths."""
    tables = [word for word in PATHS["data"] if word.startswith(LENGTHS)]
    return f"{shortened(data, 60)!r} is no table of lengths; {known(tables)}"


def path_of(name: str, value: AxisValue) -> str | None:
    """The path within a value of that axis; ``None`` for a word, and for an axis without paths."""
    if name not in PATHS or value in PATHS[name]:
        return None
    return str(value).rpartition(":")[0] if name == "reward" else str(value)
