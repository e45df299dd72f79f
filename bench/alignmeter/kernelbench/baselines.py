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

    ``needs``: what it calls, ``module:name``, or ``None``.
    """

    run: Callable[..., Any]
    needs: str | None = None

    def missing(self) -> str | None:
        """Why it cannot run here, or ``None``. Imports what it needs: a package may be here without
        what its own operators want, or in a version that has other ones.
        """
        if self.needs is None:
            return None
        path, _, name = self.needs.partition(":")
        package = path.partition(".")[0]
        if find_spec(package) is None:
            return f"{package} is not installed"
        try:
            module = import_module(path)
        except ImportError as error:
            return f"{path} cannot be imported: {error}"
        return None if hasattr(module, name) else f"the {package} that is installed has no {name}"


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


_LIGER_HEAD = "liger_kernel.ops:LigerFusedLinearScaledCrossEntropyFunction"
"""In Liger from 0.8.3 on (https://github.com/linkedin/Liger-Kernel/pull/1354): CuTe on sm_90,
chunks in plain torch elsewhere."""


def _liger_per_token(*, hidden: Tensor, weight: Tensor, labels: Tensor) -> Any:
    path, _, name = _LIGER_HEAD.partition(":")
    return -getattr(import_module(path), name).apply(hidden, weight, labels)


def _liger_summed(*, hidden: Tensor, weight: Tensor, labels: Tensor) -> Any:
    """A loss over all tokens: less than log-probs, and all that older versions have."""
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
        "mambapy": Baseline(run=_mambapy, needs="mambapy.pscan:pscan"),
        "mamba-ssm": Baseline(
            run=_mamba_ssm_scan, needs="mamba_ssm.ops.selective_scan_interface:selective_scan_fn"
        ),
    },
    "causal_conv1d": {
        "transformers": Baseline(run=_stock_conv),
        "causal-conv1d": Baseline(run=_causal_conv1d, needs="causal_conv1d:causal_conv1d_fn"),
    },
    "ssd_scan": {
        "transformers": Baseline(run=_stock_ssd),
        "mamba-ssm": Baseline(
            run=_mamba_ssm_ssd, needs="mamba_ssm.ops.triton.ssd_combined:mamba_chunk_scan_combined"
        ),
    },
    "linear_logprob": {
        "all logits": Baseline(run=_all_logits),
        "trl": Baseline(run=_trl, needs="trl.kernels.chunked_logprob:ChunkedLogProbFunction"),
        "liger per token": Baseline(run=_liger_per_token, needs=_LIGER_HEAD),
        "liger summed loss": Baseline(
            run=_liger_summed, needs="liger_kernel.transformers:LigerFusedLinearCrossEntropyLoss"
        ),
    },
    "nf4_linear": {
        "bitsandbytes": Baseline(
            run=_bitsandbytes, needs="bitsandbytes.autograd._functions:MatMul4Bit"
        )
    },
}
