"""What a phase asks of its device at least: operations, and bytes that memory moves for them."""

__all__ = ["Demand"]

import msgspec


class Demand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both are lower bounds (docs/flops.md): ``flops`` without what attention's mask throws away,
    with what checkpointing computes again; ``moved_bytes`` of weights, gradients, optimizer states
    and a rollout's cache, without activations. ``call_bytes``: what the largest of the phase's
    calls of a model moves; caches that hold as much may serve the next one. ``sent_bytes``: of
    several devices, kind of collective -> bytes of the whole tensors that it gathers or reduces.
    """

    flops: int
    moved_bytes: int
    call_bytes: int
    sent_bytes: dict[str, int] = {}
