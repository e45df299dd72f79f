"""A night of a lab: each class, what runs where, and why the rest failed."""

__all__ = ["lab_parts"]

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignmeter.terminal.tables import Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import counted, listed, plain

_MOST = 20
_COLUMNS = (label("class"), figure("wanted"), figure("recorded"), figure("ok"),
            figure("again"), figure("running"), figure("queued"), figure("ends"))  # fmt: skip


def lab_parts(classes: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """The rows of ``alignmeter lab status --json``."""
    yield Grid(_COLUMNS, [Row(_texts(one)) for one in classes])
    for one in classes:
        for job in one["jobs"]:
            host = f" on {job['host']}" if job["host"] else ""
            text = f"{job['job']} {job['state']}{host}: {job['done']} of {job['wanted']} recorded"
            yield Paragraph(plain(text), hang=2)
        if one["left_out"]:
            cells = counted(one["left_out"], "cell")
            yield Paragraph(f"{one['name']}: {cells} that no machine measures", hang=2)
        said = [f"{one['name']}: {bad['what']}: {bad['why']}" for bad in one["failures"]]
        for text in listed(said, _MOST, "line"):
            yield Paragraph(plain(text), hang=2)


def _texts(one: Mapping[str, Any]) -> list[str]:
    states = [job["state"] for job in one["jobs"]]
    counts = one["wanted"], one["recorded"], one["ok"], one["again"]
    running = states.count("running")
    return [one["name"], *map(str, counts), str(running), str(len(states) - running), _end(one)]


def _end(one: Mapping[str, Any]) -> str:
    if not one["jobs"]:
        return "-"
    left = one["seconds_left"]
    if left is None:
        return "not known"
    return time.strftime("%H:%M", time.localtime(time.time() + left))
