"""The JSON of pytest-benchmark, as this project's suites write it with ``--benchmark-json``.

Source: https://pytest-benchmark.readthedocs.io and ``extra_info`` of `alignmeter.plugin`. A cell's
figures are those that its worker timed; the benchmark's own mean has the way to the worker in it.
"""

__all__ = ["rows"]

import statistics

import msgspec

from alignmeter.errors import InputError
from alignmeter.records.reported import Reported


class _ExtraInfo(msgspec.Struct, frozen=True):
    cell: str = ""
    replicate: int | None = None
    status: str = "ok"
    step_s: list[float] = []
    allocated_peak_bytes: int | None = None


class _Stats(msgspec.Struct, frozen=True):
    median: float


class _Benchmark(msgspec.Struct, frozen=True):
    fullname: str
    extra_info: _ExtraInfo
    stats: _Stats | None = None


class _Device(msgspec.Struct, frozen=True):
    device: str


class _MachineInfo(msgspec.Struct, frozen=True):
    alignmeter: list[_Device] = []


class _Commit(msgspec.Struct, frozen=True):
    id: str | None = None


class _Session(msgspec.Struct, frozen=True):
    benchmarks: list[_Benchmark]
    machine_info: _MachineInfo
    datetime: str = ""
    commit_info: _Commit = _Commit()


def rows(data: bytes, where: str, source: int) -> list[Reported]:
    """A row per benchmark. Raises `InputError` that names ``where`` and the wrong field."""
    try:
        session = msgspec.json.decode(data, type=_Session)
        return [_row(one, session, source) for one in session.benchmarks]
    except msgspec.MsgspecError as error:
        raise InputError(f"{where}: not JSON of pytest-benchmark: {error}") from error


def _row(one: _Benchmark, session: _Session, source: int) -> Reported:
    said = one.extra_info
    name = one.fullname if not said.cell else said.cell
    if said.cell and said.replicate is not None:
        name = f"{said.cell}.r{said.replicate}"
    devices = {found.device for found in session.machine_info.alignmeter}
    commit = session.commit_info.id
    call = {} if said.cell or one.stats is None else {"median of a call, s": one.stats.median}
    row = Reported(
        source=source,
        name=name,
        status=said.status,
        device=", ".join(sorted(devices)),
        step_s=statistics.median(said.step_s) if said.step_s else None,
        peak_bytes=said.allocated_peak_bytes,
        peak_of="" if said.allocated_peak_bytes is None else "allocated",
        others=call,
        versions={"commit": commit} if commit else {},
        measured=session.datetime,
    )
    return msgspec.convert(msgspec.to_builtins(row), Reported)  # its limits are checked there
