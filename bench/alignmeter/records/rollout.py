"""What sampling the responses of a record's steps took."""

__all__ = ["Rollout"]

import msgspec


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sampling the responses took, in a record of a method that does.

    ``cache_reserved_bytes``: of the cache at its largest moment; ``cache_used_bytes``: those that
    held keys, values or states. ``step_share``: of the step's time, a share of 1, median over the
    timed steps. ``compile_s``: what was compiled before the first step. ``engine_bytes``: of a
    served engine, what the device has in use less what torch reserved. ``logprob_gap``: median over
    the timed steps of the mean distance between its log-prob of a token and the policy's, in nats.
    """

    cache_reserved_bytes: int | None = None
    cache_used_bytes: int | None = None
    step_share: float | None = None
    compile_s: float | None = None
    engine_bytes: int | None = None
    logprob_gap: float | None = None
