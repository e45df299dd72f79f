"""Every name a user can choose, and where it lives. A new entry is one row here and one file there.

A row has the path of its object, and those of its facts that are asked where torch is not loaded:
by axes, records and what they mean. All other facts stand on the object.
"""

__all__ = [
    "ACCELERATORS",
    "ARCHITECTURES",
    "DELTAS",
    "LEVERS",
    "LORA_TARGETS",
    "LOSS_HEADS",
    "METHODS",
    "OPTIMIZERS",
    "PEFT_MODES",
    "PLAN_ACCELERATOR",
    "PRECISIONS",
    "RECIPES",
    "ROLLOUTS",
    "VARIANTS",
    "AcceleratorRow",
    "ArchitectureRow",
    "LossHeadRow",
    "MethodRow",
    "OptimizerRow",
    "PeftRow",
    "RolloutRow",
    "Row",
    "default_name",
    "load",
    "row_of",
    "unused_axes",
    "users_of",
]

from collections.abc import Callable

from alignmeter.registry.idle import IDLE, SHARED
from alignmeter.registry.rows import (
    AcceleratorRow,
    ArchitectureRow,
    LossHeadRow,
    MethodRow,
    OptimizerRow,
    PeftRow,
    RolloutRow,
    Row,
    default_name,
    load,
    row_of,
)

_SAMPLED = ("rollout", "rollout_weights")

METHODS: dict[str, MethodRow] = {
    "sft": MethodRow(
        path="alignmeter.methods.sft:SFT",
        axes=("loss_head", "microbatches", "rows"),
        mean_loss=True,
    ),
    "rm": MethodRow(path="alignmeter.methods.rm:RM", axes=("microbatches",)),
    "dpo": MethodRow(
        path="alignmeter.methods.dpo:DPO",
        axes=("loss_head", "microbatches", "ref", "dpo_loss"),
        default=True,
    ),
    "kto": MethodRow(path="alignmeter.methods.kto:KTO", axes=("loss_head", "ref"), unpaired=True),
    "simpo": MethodRow(
        path="alignmeter.methods.simpo:SIMPO", axes=("loss_head", "microbatches"), title="SimPO"
    ),
    "orpo": MethodRow(path="alignmeter.methods.orpo:ORPO", axes=("loss_head", "microbatches")),
    "ppo": MethodRow(
        path="alignmeter.methods.ppo:PPO",
        axes=(
            "loss_head",
            "ref",
            "ppo_topology",
            "ppo_backward",
            "ppo_epochs",
            "ppo_minibatches",
            *_SAMPLED,
        ),
        layout=("ppo_topology", "ppo_backward"),
        trained_models=2,
        rollouts=True,
    ),
    "grpo": MethodRow(
        path="alignmeter.methods.grpo:GRPO",
        axes=("loss_head", "ref", "grpo_variant", "kl", "group", "reward", *_SAMPLED),
        layout=("kl", "reward"),
        idle=(("kl", "0", "ref"),),
        rollouts=True,
    ),
    "rloo": MethodRow(
        path="alignmeter.methods.rloo:RLOO",
        axes=("loss_head", "ref", "group", "reward", *_SAMPLED),
        layout=("reward",),
        rollouts=True,
    ),
    "distill": MethodRow(
        path="alignmeter.methods.distill:DISTILL",
        axes=("teacher", *_SAMPLED),
        rollouts=True,
        title="distillation",
    ),
}

VARIANTS: dict[str, tuple[str, ...]] = {
    "dpo_loss": ("sigmoid", "ipo", "apo-zero", "hinge"),
    "grpo_variant": ("grpo", "dapo", "dr-grpo", "gspo", "cispo"),
}
"""Axis -> the variants of one method. The first is what its cells were before, and stays first."""

DELTAS: tuple[tuple[str, str], ...] = (
    ("dpo", "ppo"),
    ("grpo", "ppo"),
    ("kto", "dpo"),
    ("orpo", "dpo"),
)
"""Pairs of methods whose peaks are held against each other: the second's less the first's.

The first pair is the headline of terminal and report.
"""

RECIPES: tuple[tuple[str, ...], ...] = (("sft", "dpo"), ("sft", "rm", "ppo"), ("sft", "grpo"))
"""Methods one after the other, from a base model to an aligned one: what a whole bill is of."""

ARCHITECTURES: dict[str, ArchitectureRow] = {
    "llama": ArchitectureRow(
        path="alignmeter.architectures.llama:LLAMA",
        state_space=False,
        attends=True,
        packs=True,
        default=True,
    ),
    "mamba": ArchitectureRow(
        path="alignmeter.architectures.mamba:MAMBA", state_space=True, attends=False
    ),
    "mamba2": ArchitectureRow(
        path="alignmeter.architectures.mamba2:MAMBA2", state_space=True, attends=False
    ),
    "hybrid": ArchitectureRow(
        path="alignmeter.architectures.hybrid:HYBRID", state_space=True, attends=True
    ),
}

LORA_TARGETS: dict[str, tuple[str, ...]] = {
    "all-linear": (),
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "qv": ("q_proj", "v_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
"""Preset -> last names of the layers that get adapters, those of them that a model has. Empty: all
that its architecture says can be adapted. The first is what cells were before there were others.
"""

_ADAPTER_AXES = ("lora_rank", "lora_targets", "lora_dropout")

PEFT_MODES: dict[str, PeftRow] = {
    "full": PeftRow(
        path="alignmeter.peft.full:FULL", adapters=False, default_ref="resident", default=True
    ),
    "lora": PeftRow(
        path="alignmeter.peft.lora:LORA",
        adapters=True,
        default_ref="adapter-off",
        axes=_ADAPTER_AXES,
        libraries=("peft",),
        title="LoRA",
    ),
    "qlora": PeftRow(
        path="alignmeter.peft.qlora:QLORA",
        adapters=True,
        default_ref="adapter-off",
        axes=(*_ADAPTER_AXES, "quantiser", "embeddings"),
        libraries=("peft", "bitsandbytes"),
        title="QLoRA",
    ),
}

LOSS_HEADS: dict[str, LossHeadRow] = {
    "own": LossHeadRow(path="alignmeter.training.heads.own:OWN", default=True),
    "logits": LossHeadRow(path="alignmeter.training.heads.logits:LOGITS", every_token=True),
    "liger": LossHeadRow(
        path="alignmeter.training.heads.liger:LIGER",
        every_token=True,
        means=True,
    ),
}
"""How log-probs of tokens are computed from hidden states."""

OPTIMIZERS: dict[str, OptimizerRow] = {
    "adamw": OptimizerRow(
        path="alignmeter.training.optimizers.adamw:ADAMW", axes=("optimizer_impl",), default=True
    ),
    "adamw-8bit": OptimizerRow(
        path="alignmeter.training.optimizers.eight_bit:ADAMW_8BIT", libraries=("bitsandbytes",)
    ),
    "paged-adamw-8bit": OptimizerRow(
        path="alignmeter.training.optimizers.eight_bit:PAGED_ADAMW_8BIT",
        libraries=("bitsandbytes",),
    ),
    "adafactor": OptimizerRow(path="alignmeter.training.optimizers.adafactor:ADAFACTOR"),
    "muon": OptimizerRow(path="alignmeter.training.optimizers.muon:MUON"),
}

ROLLOUTS: dict[str, RolloutRow] = {
    "eager": RolloutRow(path="alignmeter.training.engines.eager:EAGER", default=True),
    "static": RolloutRow(path="alignmeter.training.engines.static:STATIC"),
    "compiled": RolloutRow(path="alignmeter.training.engines.compiled:COMPILED", compiled=True),
    "vllm": RolloutRow(
        path="alignmeter.training.engines.vllm:VLLM", phases=("weight_sync",), served=True
    ),
}
"""What samples the responses of methods that do."""

PRECISIONS: dict[str, Row] = {
    "fp32": Row(path="alignmeter.architectures.precision:FP32"),
    "bf16-mixed": Row(path="alignmeter.architectures.precision:BF16_MIXED"),
    "bf16-base": Row(path="alignmeter.architectures.precision:BF16_BASE"),
    "bf16-base-mixed": Row(path="alignmeter.architectures.precision:BF16_BASE_MIXED"),
    "bf16": Row(path="alignmeter.architectures.precision:BF16"),
}

ACCELERATORS: dict[str, AcceleratorRow] = {
    "cuda": AcceleratorRow(
        path="alignmeter.accelerators.cuda:CUDA",
        precision="bf16-mixed",
        adapter_precision="bf16-base",
    ),
    "rocm": AcceleratorRow(
        path="alignmeter.accelerators.rocm:ROCM",
        precision="bf16-mixed",
        adapter_precision="bf16-base",
    ),
    "xpu": AcceleratorRow(
        path="alignmeter.accelerators.xpu:XPU",
        precision="bf16-mixed",
        adapter_precision="bf16-base",
    ),
    "cpu": AcceleratorRow(
        path="alignmeter.accelerators.cpu:CPU", precision="fp32", adapter_precision="fp32"
    ),
}
"""In the order in which ``auto`` looks for them."""

LEVERS: dict[str, tuple[str, ...]] = {
    "peft": ("lora", "qlora"),
    "checkpointing": ("on",),
    "ppo_topology": ("shared",),
    "ppo_backward": ("sequential",),
    "ref": ("adapter-off", "precomputed"),
    "loss_head": ("own",),
    "optimizer": ("adamw-8bit", "paged-adamw-8bit", "adafactor"),
    "optimizer_impl": ("fused",),
    "precision": ("bf16", "bf16-base"),
    "embeddings": ("base",),
}
"""Axis -> values that can make a cell smaller: what `alignmeter plan --suggest` tries."""

PLAN_ACCELERATOR = "cuda"
"""What `alignmeter plan` plans for where no accelerator is named: it need not be here."""


def unused_axes(value_of: Callable[[str], object]) -> tuple[str, ...]:
    """Axes that other methods, PEFT modes, optimizers and values have, and that change nothing in
    this cell.

    ``value_of``: axis -> its value in the cell. Raises `InputError` for a name without a row.
    """
    method = row_of(METHODS, str(value_of("method")))
    idle = {other for axis, value, other in (*method.idle, *IDLE) if value_of(axis) == value}
    rows = (
        method,
        row_of(PEFT_MODES, str(value_of("peft"))),
        row_of(OPTIMIZERS, str(value_of("optimizer"))),
    )
    used = {SHARED, *(axis for row in rows for axis in row.axes)} - idle
    every = (SHARED, *(axis for row in _users().values() for axis in row.axes))
    return tuple(axis for axis in dict.fromkeys(every) if axis not in used)


def users_of(axis: str) -> tuple[str, ...]:
    """Methods, PEFT modes and optimizers in which the axis changes something; empty for one of
    every cell.
    """
    return tuple(name for name, row in _users().items() if axis in row.axes)


def _users() -> dict[str, MethodRow | PeftRow | OptimizerRow]:
    return {**METHODS, **PEFT_MODES, **OPTIMIZERS}
