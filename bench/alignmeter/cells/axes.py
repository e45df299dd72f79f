"""The axes a cell is chosen on: one row each, with its values, its default and its help text."""

__all__ = ["AXES", "HEAD", "PATHS", "RANDOM", "Axis", "AxisValue", "check_value"]

from dataclasses import dataclass
from pathlib import Path

from alignmeter.cells.columns import AUTO, parse_columns
from alignmeter.cells.places import check_path
from alignmeter.errors import InputError, known
from alignmeter.registry import (
    ACCELERATORS,
    ARCHITECTURES,
    METHODS,
    PEFT_MODES,
    PRECISIONS,
    default_name,
)
from alignmeter.text import plain, shortened, shown_path

AxisValue = str | int
HEAD = ("method", "architecture", "size", "peft", "accelerator")
"""Axes that every id begins with."""
_LONGEST_LANE = 60
RANDOM = "random"
"""``model`` of a cell whose weights are drawn, not read."""
PATHS: dict[str, tuple[str, ...]] = {"data": ("packaged", "synthetic"), "model": (RANDOM,)}
"""Axes that hold paths -> their words, which win over a file of that name (``./packaged``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis. ``choices`` is empty for free text (``data``, ``lane``) and for integers.

    ``default``: what a cell has that does not name it; ``None``: it depends on other axes
    (`cells.defaults`). ``omitted``: at this value ids leave the axis out, for ever, whatever
    becomes of the default; what it was before the axis came. ``None``: it always enters. ``slug``:
    how the id names a value that is not the default, where it is not the value itself; empty: not
    at all. ``several``: an option takes more than one value, with commas between them.
    ``maximum``: of an integer; no device holds more, and their products would pass 64 bits.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    default: AxisValue | None = None
    omitted: AxisValue | None = None
    slug: str = "{}"
    integer: bool = False
    minimum: int = 1
    maximum: int = 2**27
    several: bool = True

    @property
    def flag(self) -> str:
        """The command-line spelling, e.g. ``--seq-len``."""
        return "--" + self.name.replace("_", "-")


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
        choices=("tiny", "130m", "370m", "1.4b", "2.8b", "8b"),
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
        name="lane",
        slug="lane-{}",
        default="out-of-box",
        omitted="out-of-box",
        help="name of the tuning lane, shown in every row",
    ),
    Axis(
        name="data",
        default="packaged",
        help="packaged (real preference text), synthetic, or a file or folder of JSON Lines, JSON, "
        "CSV or Parquet",
    ),
    Axis(
        name="columns",
        slug="",  # the digest of the data covers it
        default=AUTO,
        omitted=AUTO,
        several=False,
        help="columns of --data by field, where their names do not say: "
        "prompt=NAME,chosen=NAME,rejected=NAME",
    ),
)

AXES: dict[str, Axis] = {axis.name: axis for axis in _ROWS}


def _whole_number(axis: Axis, value: object, where: str) -> int:
    try:
        number = value if isinstance(value, int) else int(str(value))
    except ValueError:
        number = axis.minimum - 1
    wrong_kind = isinstance(value, (bool, float))
    if wrong_kind or number < axis.minimum or number > axis.maximum:
        limits = f"of at least {axis.minimum}"
        if number > axis.maximum:
            limits = f"from {axis.minimum} to {axis.maximum}"
        raise InputError(
            f"{where}: {shortened(repr(value), 40)} is not a value of {axis.name}; "
            f"give a whole number {limits}"
        )
    return number


def check_value(name: str, value: object, where: str, folder: Path | None = None) -> AxisValue:
    """`value` as the axis wants it.

    ``where`` names the file or flag for the message; a path is relative to ``folder``, or to the
    working directory. Raises `InputError` for an unknown axis or value, with the known ones.
    """
    if name not in AXES:
        raise InputError(
            f"{where}: {shortened(repr(name), 60)} is not an axis; {known(AXES, name)}"
        )
    axis = AXES[name]
    if axis.integer:
        return _whole_number(axis, value, where)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {name} wants text, got {value!r}")
    if axis.choices and value not in axis.choices:
        raise InputError(f"{where}: {value!r} is not a value of {name}; {known(axis.choices)}")
    if value not in PATHS.get(name, (value,)):
        check_path(value, where)
        if name == "data":
            _check_data(value, where, folder)
    if name == "columns":
        parse_columns(value, where)
    if name == "lane" and (len(value) > _LONGEST_LANE or not value.isprintable()):
        raise InputError(
            f"{where}: the lane {shortened(plain(value), 40)!r} is no name; give at most "
            f"{_LONGEST_LANE} printable characters"
        )
    return value


def _check_data(value: str, where: str, folder: Path | None) -> None:
    place = Path(value) if folder is None else folder / value
    if place.is_file() or place.is_dir():
        return
    shown = repr(shown_path(value, 60))
    if place.exists():
        raise InputError(
            f"{where}: data {shown} is a pipe or a device, read only once; save it as a file"
        )
    near = "" if folder is None else shown_path(str(folder), 60)
    beside = near and f" in {near}, which paths in that file are relative to"
    raise InputError(
        f"{where}: data file {shown} does not exist{beside}; give packaged, synthetic, or a file "
        "or folder of JSON Lines, JSON, CSV or Parquet"
    )
