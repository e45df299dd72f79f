"""All that crosses the pipe between a worker and the session that drives it."""

__all__ = [
    "CacheUse",
    "EnergyWindow",
    "MemoryProfile",
    "Observed",
    "ProcessPeaks",
    "StepReport",
    "StepSpans",
    "Target",
]

from dataclasses import dataclass, field
from typing import NamedTuple

from alignmeter.records.reference import Signals
from alignmeter.telemetry.base import Capabilities, Identity, Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a sampler should read: the ``device`` of a telemetry; ``None`` and why not otherwise.

    ``library``: name and version of what is read through.
    """

    device: str | None
    reason: str | None = None
    library: str | None = None
    identity: Identity | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpans:
    """When one step ran, in s of the host's monotonic clock, and its phases in order.

    A phase may come more than once: PPO's epochs and minibatches.
    """

    start_s: float
    end_s: float
    phases: list[tuple[str, float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step as the parent sees it. Times in s; ``spans``: when it and its phases ran;
    ``others_share``: the share of the host's cores that other processes used meanwhile;
    ``swapped_bytes``: the worker's memory in swap afterwards, ``None`` where nobody says;
    ``logprob_gap``: as `Outcome`'s; ``own_share``: as ``others_share``, of the worker itself.
    """

    seconds: float
    phases: dict[str, float]
    spans: StepSpans
    loss: float
    trained_tokens: int
    padded_tokens: int
    generated_tokens: int
    others_share: float
    swapped_bytes: int | None = None
    logprob_gap: float | None = None
    own_share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessPeaks:
    """Bytes: the allocator's reserved peak, the device's memory in use now, the peak of the RSS.

    ``compile_s``: what the process has spent compiling kernels until now.
    """

    reserved_bytes: int | None
    device_used_bytes: int | None
    rss_bytes: int | None
    compile_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUse:
    """Bytes of a rollout's cache in the memory step: at its largest moment, and of them those that
    held keys, values or states.
    """

    reserved_bytes: int
    used_bytes: int


class Sent(NamedTuple):
    """One collective of a step: its phase, its kind, and the bytes of the whole tensor."""

    phase: str | None
    kind: str
    nbytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryProfile:
    """Peak of one step in bytes, where it was reached, and the ledger that sums to it.

    ``attention``: which of torch's ran, if one with an operator of its own did. ``seq_len``: tokens
    of the step's longest row, where rows have lengths of their own. ``cache``: the rollout's,
    ``None`` where none was seen. ``sent``: the step's collectives, in order.
    """

    peak_bytes: int
    phase: str | None
    operator: str | None
    phase_peaks: dict[str, int]
    ledger: dict[str, int]
    attention: str | None = None
    seq_len: int | None = None
    cache: CacheUse | None = None
    sent: tuple[Sent, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What the agreement steps gave. ``rollouts``: response tokens [2B, N] of each, for PPO.

    ``answers_equal``: the first batch held no pair whose answers differ. A preference loss is ln 2
    then, whatever the weights, and its gradient is rounding.
    """

    signals: Signals
    rollouts: list[list[list[int]]]
    silent_adapters: list[str]
    answers_equal: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyWindow:
    """What the worker found; `energy_account.settle` makes the record's figures of it.

    ``unavailable``: why there is neither counter nor power. ``frozen``: the counter stood still
    while it was watched.
    """

    unavailable: str | None = None
    frozen: bool = False
    first: Sample | None = None
    last: Sample | None = None
    steps: list[StepSpans] = field(default_factory=list)
    tick_s: float | None = None
    idle_before_w: float | None = None
    idle_after_w: float | None = None
