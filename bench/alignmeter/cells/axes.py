"""The axes a cell is chosen on: one row each, with its values, its default and its help text."""

__all__ = [
    "AXES", "HEAD", "LENGTHS", "PATHS", "RANDOM", "SAME", "Axis", "AxisValue", "no_table",
    "path_of",
]  # fmt: skip

from alignmeter.cells.axis import Axis, AxisValue
from alignmeter.cells.columns import AUTO
from alignmeter.errors import known
from alignmeter.registry import (
    ACCELERATORS,
    ARCHITECTURES,
    METHODS,
    PEFT_MODES,
    PRECISIONS,
    ROLLOUTS,
    VARIANTS,
    default_name,
)
from alignmeter.text import shortened

HEAD = ("method", "architecture", "size", "peft", "accelerator")
"""Axes that every id begins with."""
RANDOM = "random"
"""``model`` of a cell whose weights are drawn, not read."""
SAME = "same"
"""``teacher`` of a cell whose teacher has the student's own shape."""
_SIZES = ("tiny", "130m", "370m", "1.4b", "2.8b", "8b")
_REWARDS = ("model", "length", "token-share", "exact-match")
LENGTHS = "lengths:"
"""``data`` that begins so is drawn at the lengths of a packaged table."""
PATHS: dict[str, tuple[str, ...]] = {
    "data": ("packaged", "synthetic", f"{LENGTHS}hh"),
    "model": (RANDOM,),
    "reward": _REWARDS,
    "teacher": (SAME, *_SIZES),
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
        choices=_SIZES,
        default="tiny",
        help="model size; within a size the parameter counts match within 2 %",
    ),
    Axis(
        name="model",
        default=RANDOM,
        help="random weights at --size, or a checkpoint: a folder or a hub id (safetensors only)",
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
    Axis(name="optimizer", choices=("adamw",), default="adamw", omitted="adamw", help="optimizer"),
    Axis(
        name="lora_rank",
        slug="r{}",
        integer=True,
        default=16,
        omitted=16,
        help="rank of the adapters",
    ),
    Axis(
        name="quantiser",
        choices=("nf4-double-64",),
        default="nf4-double-64",
        omitted="nf4-double-64",
        help="4-bit format of qlora: type, double quantisation, block size",
    ),
    Axis(
        name="ref",
        slug="ref-{}",
        choices=("resident", "adapter-off", "precomputed"),
        help="ref_model: a copy, the policy without its adapter, or log-probs computed once "
        "(default by --peft)",
    ),
    Axis(
        name="dpo_loss",
        choices=VARIANTS["dpo_loss"],
        default=VARIANTS["dpo_loss"][0],
        omitted=VARIANTS["dpo_loss"][0],
        help="DPO's loss of a pair: logistic, IPO's square, APO-zero's two sigmoids, a hinge",
    ),
    Axis(
        name="grpo_variant",
        choices=VARIANTS["grpo_variant"],
        default=VARIANTS["grpo_variant"][0],
        omitted=VARIANTS["grpo_variant"][0],
        help="how GRPO weights, clips and averages over tokens",
    ),
    Axis(
        name="kl",
        slug="kl-{}",
        choices=("0", "k3"),
        default="0",
        omitted="0",
        help="GRPO's KL term: none, and then no ref_model, or the k3 estimate",
    ),
    Axis(
        name="group",
        slug="g{}",
        integer=True,
        minimum=2,
        default=2,
        omitted=2,
        help="answers per prompt, G: 2B / G prompts a step; at 2 those of DPO's and PPO's pairs",
    ),
    Axis(
        name="reward",
        slug="reward-{}",
        choices=_REWARDS,
        other="FILE.py:function",
        default="model",
        omitted="model",
        help="what judges an answer of GRPO and RLOO: a reward model, a function of tokens, or "
        "FILE.py:function, one of your own",
    ),
    Axis(
        name="ppo_topology",
        choices=("separate", "shared"),
        default="separate",
        omitted="separate",
        help="reward and value models with backbones of their own, or on policy and ref_model",
    ),
    Axis(
        name="ppo_backward",
        choices=("sequential", "joint"),
        default="sequential",
        omitted="sequential",
        help="policy then value model, or one summed loss",
    ),
    Axis(
        name="ppo_epochs",
        slug="e{}",
        integer=True,
        default=1,
        omitted=1,
        help="passes over one rollout",
    ),
    Axis(
        name="ppo_minibatches",
        slug="mb{}",
        integer=True,
        default=1,
        omitted=1,
        help="minibatches per pass",
    ),
    Axis(
        name="rollout",
        slug="rollout-{}",
        choices=tuple(ROLLOUTS),
        default=default_name(ROLLOUTS),
        omitted="eager",
        help="what samples responses: a plain loop, a cache of fixed size, that compiled, or vLLM",
    ),
    Axis(
        name="teacher",
        slug="teacher-{}",
        choices=(SAME, *_SIZES),
        other="a checkpoint: a folder or organisation/name",
        default=SAME,
        omitted=SAME,
        help="whom distill learns from: a model of the student's own shape, one of another size, "
        "or a checkpoint; of the same architecture and vocabulary",
    ),
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
