"""What each kernel is timed beside: operators of transformers, TRL, bitsandbytes and vendors."""

__all__ = ["BASELINES", "Baseline"]

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F

from alignmeter.architectures import open_architecture
from alignmeter.registry import ARCHITECTURES
from alignmeter_kernels.nf4_linear.reference import NESTED

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """``run`` takes a case's tensors and options by keyword, as the kernel's operator does.

    ``module``: what must be importable, or ``None``.
    """

    run: Callable[..., Any]
    module: str | None = None

    def missing(self) -> str | None:
        """What to install, or ``None``."""
        if self.module is None or find_spec(self.module) is not None:
            return None
        return f"{self.module} is not installed"


def _stock(function: str) -> Callable[..., Any]:
    """transformers' own torch code, of the first architecture where a kernel takes its place."""
    families = map(open_architecture, ARCHITECTURES)
    return next(f.torch_code(function) for f in families if function in f.operators)


def _stock_scan(*, mambapy: bool, **inputs: Any) -> Any:
    u, delta = inputs.pop("u"), inputs.pop("delta")
    scan = _stock("mamba_selective_scan")
    return scan(u, delta, use_mambapy=mambapy, **inputs)


def _loop(**inputs: Any) -> Any:
    return _stock_scan(mambapy=False, **inputs)


def _mambapy(**inputs: Any) -> Any:
    return _stock_scan(mambapy=True, **inputs)


def _mamba_ssm_scan(**inputs: Any) -> Any:
    module = import_module("mamba_ssm.ops.selective_scan_interface")
    return module.selective_scan_fn(**inputs)


def _stock_conv(*, x: Tensor, weight: Tensor, bias: Tensor, silu: bool) -> Any:
    convolve = _stock("causal_conv1d_fn")
    return convolve(x, weight, bias, activation="silu" if silu else None)


def _causal_conv1d(*, x: Tensor, weight: Tensor, bias: Tensor, silu: bool) -> Any:
    module = import_module("causal_conv1d")
    return module.causal_conv1d_fn(x, weight, bias, activation="silu" if silu else None)


_SSD_CHUNK = 256
"""The chunk of every published Mamba-2."""


def _stock_ssd(*, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, **more: Any) -> Any:  # noqa: N803
    scan = _stock("mamba2_chunk_scan")
    return scan(x, dt, A, B, C, chunk_size=_SSD_CHUNK, **more)


def _mamba_ssm_ssd(*, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, **more: Any) -> Any:  # noqa: N803
    module = import_module("mamba_ssm.ops.triton.ssd_combined")
    return module.mamba_chunk_scan_combined(x, dt, A, B, C, _SSD_CHUNK, **more)


def _all_logits(*, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits = F.linear(hidden, weight).float()
    return logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _trl(*, hidden: Tensor, weight: Tensor, labels: Tensor) -> Any:
    function = import_module("trl.kernels.chunked_logprob").ChunkedLogProbFunction
    chunk = import_module("trl.trainer.utils")._CHUNKED_LOGPROB_CHUNK_SIZE
    return function.apply(hidden, weight, None, labels, 1.0, chunk, None, 1.0, ("entropy",))[0]


def _liger(*, hidden: Tensor, weight: Tensor, labels: Tensor) -> Any:
    """Its loss is summed, not per token: the nearest that Liger has."""
    module = import_module("liger_kernel.transformers")
    return module.LigerFusedLinearCrossEntropyLoss(reduction="sum")(weight, hidden, labels)


def _bitsandbytes(*, x: Tensor, shape: tuple[int, int], blocksize: int, **parts: Tensor) -> Any:
    functional = import_module("bitsandbytes.functional")
    nested = functional.QuantState(
        absmax=parts["nested_absmax"],
        code=parts["levels"],
        blocksize=NESTED,
        dtype=torch.float32,
    )
    state = functional.QuantState(
        absmax=parts["absmax"],
        shape=torch.Size(shape),
        code=functional.get_4bit_type("nf4", device=x.device),
        blocksize=blocksize,
        quant_type="nf4",
        dtype=x.dtype,
        offset=parts["offset"],
        state2=nested,
    )
    product = import_module("bitsandbytes.autograd._functions").MatMul4Bit
    return product.apply(x, parts["packed"].unsqueeze(1), None, None, state)


BASELINES: dict[str, dict[str, Baseline]] = {
    "selective_scan": {
        "transformers": Baseline(run=_loop),
        "mambapy": Baseline(run=_mambapy, module="mambapy"),
        "mamba-ssm": Baseline(run=_mamba_ssm_scan, module="mamba_ssm"),
    },
    "causal_conv1d": {
        "transformers": Baseline(run=_stock_conv),
        "causal-conv1d": Baseline(run=_causal_conv1d, module="causal_conv1d"),
    },
    "ssd_scan": {
        "transformers": Baseline(run=_stock_ssd),
        "mamba-ssm": Baseline(run=_mamba_ssm_ssd, module="mamba_ssm"),
    },
    "linear_logprob": {
        "all logits": Baseline(run=_all_logits),
        "trl": Baseline(run=_trl, module="trl"),
        "liger": Baseline(run=_liger, module="liger_kernel"),
    },
    "nf4_linear": {"bitsandbytes": Baseline(run=_bitsandbytes, module="bitsandbytes")},
}
