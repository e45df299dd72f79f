"""A record's `throughput`: tokens per s, and how much of the device a step has used."""

__all__ = ["Throughput"]

import msgspec


class Throughput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens per s of the median step; trained tokens enter the loss's forward and backward.

    ``flops``: phase -> model FLOPs of one step, from `alignmeter.flops`; empty where nobody has
    counted them. ``masked_flops``: what of them attention's causal mask throws away.
    ``recomputed_flops``: what checkpointing adds, in none of them. ``mfu``: the sum of ``flops``
    over the median step's time and the chip's dense BF16 peak, a share of 1; ``mfu_reason``: why
    there is none. ``bound_s``: the step takes at least as long on this device, in s
    (docs/flops.md); ``bound_share``: that over the median step's time, a share of 1;
    ``bound_reason``: why there is none.
    """

    trained_tokens_per_s: float | None = None
    generated_tokens_per_s: float | None = None
    padded_tokens_per_s: float | None = None
    flops: dict[str, int] = {}
    masked_flops: int | None = None
    recomputed_flops: int | None = None
    mfu: float | None = None
    mfu_reason: str | None = None
    bound_s: float | None = None
    bound_share: float | None = None
    bound_reason: str | None = None
