"""What a node has to be before a cell is measured on it: each check is a name and a sentence."""

__all__ = ["CHECKS", "check_names", "required_accelerators", "unmet"]

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil

from alignmeter.accelerators import available, open_accelerator
from alignmeter.accelerators.inventory import inventory
from alignmeter.errors import InputError, known
from alignmeter.registry import ACCELERATORS
from alignmeter.text import plain
from alignmeter.units import GIB, MIB, bytes_text

_IDLE_BYTES = 512 * MIB
"""In use on an idle device at most: some drivers keep 300 MiB, and a context takes as much."""
_IDLE_SHARE = 0.10
"""Of the host's cores: what `session.findings` calls a busy host."""
_LISTEN_S = 0.5
_HOT_C = 85.0
"""Where an idle device is that warm, its cooling fails; vendors throttle from 83 to 105."""
_HOT = frozenset(("thermal", "hardware", "power_brake"))
_DISK_BYTES = GIB
"""Records take kilobytes; compilers' caches and libraries' temporary files take the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Node:
    """``row``: of `inventory`. ``folder``: where results go."""

    accelerator: str
    row: Mapping[str, Any]
    folder: Path

    def devices(self) -> list[Mapping[str, Any]]:
        """Those that torch computes on, where telemetry knows them."""
        kind = open_accelerator(self.accelerator).device_type
        return [d for d in self.row["devices"] if str(d.get("torch", "")).startswith(f"{kind}:")]


def _disk(node: _Node) -> Iterator[str]:
    place = next((p for p in (node.folder, *node.folder.resolve().parents) if p.is_dir()), Path())
    free = shutil.disk_usage(place).free
    if free < _DISK_BYTES:
        yield (
            f"disk: {place} has {bytes_text(free)} left; make room for {bytes_text(_DISK_BYTES)}"
        )


def _idle(node: _Node) -> Iterator[str]:
    if not open_accelerator(node.accelerator).device_nodes:
        share = psutil.cpu_percent(interval=_LISTEN_S) / 100
        if share > _IDLE_SHARE:
            yield f"idle: {share:.0%} of the host's cores are busy; wait until they are not"
        return
    unknown = not node.devices()
    for device in node.devices():
        used = device["sample"]["memory_used_bytes"]
        unknown |= used is None
        if used is not None and used > _IDLE_BYTES:
            yield (
                f"idle: {bytes_text(used)} of {device['torch']} are in use before a cell is "
                "measured; end the process that holds them"
            )
    if unknown:
        what = f"memory of {node.accelerator}"
        yield f"idle: nobody says how much {what} is in use; {_no_words(node)}"


def _cool(node: _Node) -> Iterator[str]:
    """Figures that a device does not have say nothing against it."""
    for device in node.devices():
        warm, why = device["sample"]["temperature_c"], device["sample"]["throttles"] or ()
        if warm is not None and warm > _HOT_C:
            yield f"cool: {device['torch']} is at {warm:.0f} °C; look at its cooling"
        slowed = sorted(_HOT.intersection(why))
        if slowed:
            yield f"cool: {device['torch']} is slowed down ({', '.join(slowed)}); let it cool"


def _telemetry(node: _Node) -> Iterator[str]:
    if not node.row["telemetry"]["available"]:
        yield f"telemetry: {_no_words(node)}"
    for device in node.devices():
        if device["sample"]["power_w"] is None and device["sample"]["energy_j"] is None:
            missing = device["sample"]["missing"]
            why = (
                missing.get("energy_j") or missing.get("power_w") or "its library does not say why"
            )
            yield f"telemetry: {device['torch']} tells neither energy nor power: {plain(why)}"


def _no_words(node: _Node) -> str:
    probe = node.row["telemetry"]
    words = (probe["reason"], probe["remedy"])
    return "; ".join(filter(None, words)) or "see `alignmeter devices`"


def _agreement(node: _Node) -> Iterator[str]:
    """One small cell is measured, versus the losses of its reference."""
    from alignmeter.cells.settings import Settings
    from alignmeter.session import measure
    from alignmeter.session.launcher import Launcher
    from alignmeter.session.resolve import resolve_cell

    planned = resolve_cell({"accelerator": node.accelerator})
    with Launcher() as launcher:
        launcher.begin_round(0)
        record = measure(planned, 0, Settings(steps=1, warmup=1), launcher).record
    if record.status != "ok":
        why = record.reason.text if record.reason else "no reason is given"
        yield f"agreement: {record.cell.id} is {record.status}: {why}"
    elif not record.numerics.agrees:
        why = record.numerics.reason or "its losses differ from those of the reference"
        yield f"agreement: {record.cell.id}: {why}; check the device and the installed libraries"


CHECKS: dict[str, Callable[[_Node], Iterator[str]]] = {
    "agreement": _agreement,
    "cool": _cool,
    "disk": _disk,
    "idle": _idle,
    "telemetry": _telemetry,
}
"""Name -> what asks a node; it gives a sentence for all that is wrong there."""


def check_names(names: Sequence[str], where: str) -> None:
    """Raises `InputError`, naming ``where`` they stand, for one that nothing here is called."""
    libraries = {open_accelerator(name).telemetry_library for name in ACCELERATORS} - {""}
    every = sorted({*CHECKS, *ACCELERATORS, *libraries})
    for name in names:
        if name not in every:
            raise InputError(f"{where}: nothing is called {name!r}; {known(every, name)}")


def required_accelerators(names: Sequence[str]) -> list[str]:
    """Those among ``names``; where there is none, the one that ``auto`` takes here."""
    return [name for name in names if name in ACCELERATORS] or available()[:1]


def unmet(
    accelerators: Sequence[str], names: Sequence[str], *, folder: Path, chip: str | None = None
) -> list[str]:
    """A sentence for each requirement that this machine does not meet.

    ``names``: accelerators, `CHECKS`, and telemetry libraries as `alignmeter devices` calls them,
    in one word. ``chip``: that all its devices have to be.
    """
    nodes = [_Node(accelerator=n, row=inventory(n), folder=folder) for n in accelerators]
    said = [s for node in nodes for s in _absent(node, chip)]
    for name in names:
        if name in CHECKS:
            here = [node for node in nodes if node.row["torch_missing"] is None]
            said += [sentence for node in here for sentence in CHECKS[name](node)]
        elif name not in ACCELERATORS:
            said += _library(name, nodes)
    return said


def _absent(node: _Node, chip: str | None) -> Iterator[str]:
    if node.row["torch_missing"] is not None:
        yield f"{node.accelerator}: {node.row['torch_missing']}"
    for device in node.devices() if chip is not None else ():
        if device["chip"] != chip:
            yield f"{device['torch']} is {device['chip'] or 'of no known chip'}, and not {chip}"


def _called(library: str) -> tuple[str, str]:
    """Its first word, and all before its version: "AMD SMI 26.0.2 (ROCm 7.0.2)" is amdsmi."""
    words = library.lower().split()
    named = takewhile(lambda word: word.isalpha(), words)
    return words[0], "".join(named)


def _library(name: str, nodes: Sequence[_Node]) -> Iterator[str]:
    answering = [node.row["telemetry"]["library"] for node in nodes]
    libraries = [library for library in answering if library]
    if any(name.lower() in _called(library) for library in libraries):
        return
    here = ", ".join(libraries) or "none"
    yield (
        f"{name}: no telemetry library of that name answers (here: {here}), and it is no check; "
        f"{known(CHECKS)}"
    )
