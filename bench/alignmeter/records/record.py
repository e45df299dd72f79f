"""The record: the immutable JSON of one replicate, as a checked and versioned type.

A figure that could not be measured is ``None``; the reason stands beside it. Unit in the name.
"""

__all__ = [
    "OWNERS",
    "SCHEMA_VERSION",
    "STATUSES",
    "Energy",
    "Memory",
    "Numerics",
    "Phase",
    "Provenance",
    "Reason",
    "Record",
    "Rollout",
    "Signal",
    "Status",
    "Telemetry",
    "Throughput",
    "Timing",
    "Verdict",
    "decode_record",
    "encode_record",
]

from typing import Literal, get_args

import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError
from alignmeter.records.document import decode_versioned, encode_document
from alignmeter.records.energy import Energy
from alignmeter.records.migrations import RECORD_STEPS
from alignmeter.records.ranks import Communication, Rank
from alignmeter.records.reasons import Reason
from alignmeter.records.rollout import Rollout
from alignmeter.records.throughput import Throughput

SCHEMA_VERSION = 2
Status = Literal["ok", "oom", "unsupported", "timeout", "crashed", "predicted_oom"]
STATUSES: tuple[str, ...] = get_args(Status)

OWNERS = (
    "policy_weights",
    "ref_weights",
    "reward_weights",
    "value_weights",
    "teacher_weights",
    "adapters",
    "quantisation_state",
    "gradients",
    "optimizer_state",
    "rollout_cache",
    "gathered_weights",
    "communication",
    "activations",
    "workspace",
    "library_workspace",
    "batch",
    "unattributed",
)
"""Rows of the ledger; each is written ``<owner>_bytes``."""
VRAM = "vram"
"""The kind of memory that has a caching allocator, a context and other processes beside it."""


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wall times of whole steps, in s; ``compile_s`` is ``None`` where nothing was compiled.

    ``operator_s``: seconds of one profiled step by family of operators (``attention scan
    convolution rest``); empty where it was not asked for.
    """

    warmup_s: list[float] = []
    compile_s: float | None = None
    step_s: list[float] = []
    median_s: float | None = None
    build_s: float | None = None
    worker_start_s: float | None = None
    operator_s: dict[str, float] = {}


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One phase of the step: median over the timed steps in s, peak of the memory step in bytes.

    ``bound_s``: it takes at least as long on this device, in s; ``bound_share``: that over
    ``median_s``. ``None`` where `Throughput` says why.
    """

    median_s: float | None = None
    peak_bytes: int | None = None
    bound_s: float | None = None
    bound_share: float | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Peaks over one full step. ``kind`` is ``vram`` or ``cpu tensor storage``.

    ``seq_len``: tokens of that step's longest row, where it is not the cell's.
    """

    kind: str
    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    process_peak_bytes: int | None = None
    device_peak_bytes: int | None = None
    rss_peak_bytes: int | None = None
    peak_phase: str | None = None
    peak_operator: str | None = None
    predicted_peak_bytes: int | None = None
    seq_len: int | None = None
    reason: Reason | None = None


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sampler beside the replicate. ``source`` is the library with its version.

    ``reason``: why there are no samples, or why the sampler ended early. ``missing``: figure -> why
    it was missing. ``cpu_share``: of one core, what the sampler cost.
    """

    source: str | None = None
    reason: Reason | None = None
    rate_hz: float | None = None
    samples: int = 0
    overwritten: int = 0
    longest_gap_s: float | None = None
    cpu_share: float | None = None
    missing: dict[str, str] = {}


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure of the agreement steps, beside its reference; ``band`` is what rounding explains.

    Agreement means that each pair differs by at most ``band``.
    """

    name: str
    measured: list[float | None]
    reference: list[float]
    band: float

    @property
    def agrees(self) -> bool:
        """Whether every value is there, finite and within the band."""
        return len(self.measured) == len(self.reference) and all(
            value is not None and abs(value - wanted) <= self.band
            for value, wanted in zip(self.measured, self.reference, strict=True)
        )


class Numerics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Losses of every step in order (``None``: not finite), and the reference they agree with.

    The agreement steps come first. ``agreement_layers``: they ran on backbones cut to so many
    layers (``None``: whole backbones); ``agreement_seq_len``: on sequences cut to so many tokens
    (``None``: whole sequences). After a cut of either kind their losses stand in ``agreement``
    only.
    """

    losses: list[float | None] = []
    reference_losses: list[float] = []
    agreement: list[Signal] = []
    agreement_layers: int | None = None
    agreement_seq_len: int | None = None
    agrees: bool | None = None
    reason: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether one metric of this record is valid, and if not, why not."""

    ok: bool
    reasons: list[Reason] = []


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the record comes from; part of the comparison key, not of the cell's id.

    ``run``: what one call of a command, or the jobs of one night, have in common; empty where
    nobody said. ``data``: rows of the file, pairs kept and dropped, and ``dropped_<kind>`` of those
    that were for each reason; ``data_layout``: how the file holds its pairs. ``started``: ISO 8601,
    UTC. ``memory_limited_by``: what sets a CPU's ``device_memory_bytes``, where that is less than
    the host has. ``imported``: package -> file of what was imported from elsewhere than where the
    package is installed.
    """

    commit: str | None = None
    versions: dict[str, str] = {}
    imported: dict[str, str] = {}
    environment_digest: str = ""
    host: str = ""
    os: str = ""
    device: str = ""
    device_memory_bytes: int | None = None
    memory_limited_by: str = ""
    driver: str | None = None
    runtime: str | None = None
    form_factor: str | None = None
    uuid: str | None = None
    pci_bus_id: str | None = None
    partition: str | None = None
    power_cap_w: float | None = None
    clocks_mhz: dict[str, float] = {}
    throttle_reasons: list[str] = []
    threads: int | None = None
    kernel_path: dict[str, str] = {}
    hyperparameters: dict[str, float | int | str] = {}
    lora_targets: list[str] = []
    peft: dict[str, float | int | str] = {}
    weights_drawn_on: str = ""
    tokenizer: str = ""
    data: dict[str, int] = {}
    data_layout: str = ""
    environment: dict[str, str] = {}
    placement: dict[str, str] = {}
    load_before: float | None = None
    load_after: float | None = None
    command: str = ""
    started: str = ""
    run: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replicate. `ledger` rows sum to ``memory.allocated_peak_bytes``.

    Of several devices both are the rank's that has the largest peak, step times are the slowest
    rank's, and energy is that of all devices. ``ranks``, ``communication``: empty and ``None`` for
    one device. ``failed_rank``: whose failure ended it; ``None`` where it was no single rank's.
    ``rollout``: ``None`` where the method samples nothing.
    ``notes``: what a reader has to know of it though every figure stands.
    """

    schema_version: int
    status: Status
    reason: Reason | None
    replicate: int
    seed: int
    cell: Cell
    timing: Timing
    phases: dict[str, Phase]
    memory: Memory
    ledger: dict[str, int]
    energy: Energy
    telemetry: Telemetry = Telemetry()
    throughput: Throughput
    numerics: Numerics
    validity: dict[str, Verdict]
    provenance: Provenance
    notes: list[Reason] = []
    rollout: Rollout | None = None
    ranks: list[Rank] = []
    communication: Communication | None = None
    failed_rank: int | None = None


_DECODER = msgspec.json.Decoder(Record)
_LEDGER_ROWS = {f"{owner}_bytes" for owner in OWNERS}


def encode_record(record: Record) -> bytes:
    """Strict JSON (no NaN), indented for people, with a newline at the end."""
    return encode_document(record)


def decode_record(data: bytes, where: str) -> Record:
    """Parse and check one record. Raises `InputError` that names ``where`` and the wrong field."""
    record = decode_versioned(
        data, _DECODER, SCHEMA_VERSION, where, "an alignmeter record", RECORD_STEPS
    )
    _check_ledger(record, where)
    return record


def _check_ledger(record: Record, where: str) -> None:
    peak = record.memory.allocated_peak_bytes
    _check_sum(record.ledger, peak, f"{where}: the ledger", "memory.allocated_peak_bytes")
    for one in record.ranks:
        name = f"ranks[{one.rank}]"
        _check_sum(one.ledger, one.peak_bytes, f"{where}: {name}.ledger", f"{name}.peak_bytes")


def _check_sum(ledger: dict[str, int], peak: int | None, which: str, what: str) -> None:
    unknown = ledger.keys() - _LEDGER_ROWS
    if unknown:
        raise InputError(f"{which} has an unknown row {min(unknown)!r}")
    if ledger and sum(ledger.values()) != peak:
        raise InputError(f"{which} sums to {sum(ledger.values())} bytes, but {what} is {peak}")
