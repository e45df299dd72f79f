"""The energy of a record's steps."""

__all__ = ["Energy"]

from typing import Literal

import msgspec

from alignmeter.records.reasons import Reason


class Energy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Energy per step in J with its bound; ``source`` is ``counter``, ``polled`` or ``none``.

    ``reason``: why there is nothing, or why the counter was not believed. ``gap_s``: the window's
    time outside steps; ``gaps``: whether the idle device's power over that time was ``subtracted``,
    or ``counted`` with the steps because nobody knows it. Records of earlier versions have ``None``
    and counted it. ``mean_w``: while steps ran. ``polled_per_step_j``: the power sensor's integral,
    beside the counter. ``phase_j``: phase -> J per step, the counter's power apportioned over the
    phases' time, not measured phase by phase.
    """

    source: Literal["counter", "polled", "none"]
    reason: Reason | None = None
    per_step_j: float | None = None
    bound_j: float | None = None
    mean_w: float | None = None
    scope: str | None = None
    gaps: Literal["subtracted", "counted"] | None = None
    gap_s: float | None = None
    power_kind: str | None = None
    window_s: float | None = None
    steps: int | None = None
    tick_s: float | None = None
    idle_before_w: float | None = None
    idle_after_w: float | None = None
    polled_per_step_j: float | None = None
    phase_j: dict[str, float] = {}
