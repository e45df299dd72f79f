"""The results of PEFT's method comparison: one JSON file per experiment.

Source: ``log_results`` in method_comparison/MetaMathQA/utils.py of
https://github.com/huggingface/peft; until mid-2025 its memory fields began with ``cuda_`` and the
device was ``gpu``. Every experiment is supervised fine-tuning. ``train_time`` has the evaluations
in it, so the time of a step is the sum of ``train time`` over the logged intervals, over the steps.
"""

__all__ = ["rows"]

import msgspec

from alignmeter.errors import InputError
from alignmeter.records.reported import Reported

_METHOD = "supervised fine-tuning"
_FULL = "full fine-tuning"
_TIME, _TOKENS, _ACCURACY = "train time", "train total tokens", "test accuracy"


class _TrainConfig(msgspec.Struct, frozen=True):
    model_id: str
    dtype: str
    max_seq_length: int
    batch_size: int


class _PeftConfig(msgspec.Struct, frozen=True):
    peft_type: str


class _RunInfo(msgspec.Struct, frozen=True):
    created_at: str
    experiment_name: str
    train_config: _TrainConfig
    peft_config: _PeftConfig | None = None


class _TrainInfo(msgspec.Struct, frozen=True):
    status: str
    num_trainable_params: int
    file_size: int
    metrics: list[dict[str, float | str | None]]
    accelerator_memory_max: int | None = None
    cuda_memory_max: int | None = None


class _MetaInfo(msgspec.Struct, frozen=True):
    system_info: dict[str, str | None]
    package_info: dict[str, str | None] = {}


class _Result(msgspec.Struct, frozen=True):
    run_info: _RunInfo
    train_info: _TrainInfo
    meta_info: _MetaInfo


def rows(data: bytes, where: str, source: int) -> list[Reported]:
    """The one result of a file. Raises `InputError` that names ``where`` and the wrong field."""
    try:
        found = msgspec.json.decode(data, type=_Result)
        return [_row(found, source)]
    except msgspec.MsgspecError as error:
        raise InputError(f"{where}: not a result of PEFT's method comparison: {error}") from error


def _row(found: _Result, source: int) -> Reported:
    run, train, system = found.run_info, found.train_info, found.meta_info.system_info
    config = run.train_config
    seconds = sum(_numbers(train, _TIME))
    steps = max(_numbers(train, "step"), default=0)
    tokens = max(_numbers(train, _TOKENS), default=0)
    newer, older = train.accelerator_memory_max, train.cuda_memory_max
    accuracy = _numbers(train, _ACCURACY)
    others = {"trainable parameters": float(train.num_trainable_params),
              "checkpoint, bytes": float(train.file_size)}  # fmt: skip
    row = Reported(
        source=source,
        name=run.experiment_name,
        status="ok" if train.status == "success" else train.status,
        method=_METHOD,
        model=config.model_id,
        peft=_FULL if run.peft_config is None else run.peft_config.peft_type.lower(),
        precision=config.dtype,
        seq_len=config.max_seq_length,
        batch=config.batch_size,
        device=system.get("accelerator") or system.get("gpu") or "",
        step_s=seconds / steps if seconds and steps else None,
        tokens_per_s=tokens / seconds if seconds and tokens else None,
        peak_bytes=older if newer is None else newer,
        peak_of="reserved",
        others=others | ({_ACCURACY: accuracy[-1]} if accuracy else {}),
        versions={
            name.removesuffix("-version"): text
            for name, text in found.meta_info.package_info.items()
            if text and name.endswith("-version")
        },
        measured=run.created_at,
    )
    return msgspec.convert(msgspec.to_builtins(row), Reported)  # its limits are checked there


def _numbers(train: _TrainInfo, name: str) -> list[float]:
    """What the logged intervals say under that name."""
    found = (interval.get(name) for interval in train.metrics)
    return [value for value in found if isinstance(value, int | float)]
