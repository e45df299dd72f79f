"""Which commit made a cell worse: git's bisection, with the gate's verdict on each commit.

Commits are checked out in a worktree of the bisection's own below its folder; the user's checkout,
branch and bisections stay as they are, also when it is killed. Records are kept by commit, so a
second call measures none again.
"""

__all__ = ["Bisection", "Found", "bisect"]

import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from alignmeter.analysis.compare import CellComparison, compare, failures
from alignmeter.analysis.metrics import METRICS
from alignmeter.cells.axes import AXES, PATHS, path_of
from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, record_path, write_bytes
from alignmeter.records.lock import locked
from alignmeter.records.record import Record
from alignmeter.runs.worktree import Worktree
from alignmeter.text import plain, shortened

_FIRST = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit", re.MULTILINE)
_TWICE = 2
"""Times as many replicates as asked for, where so many have not decided."""
_SKIP = "skip"
_SAID = 120


class _CannotMeasureError(Exception):
    """Of one commit; `git bisect run` has exit status 125 for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """``commit``: the first bad one; empty where only commits that cannot be measured are left,
    which are then ``candidates``.
    """

    commit: str
    candidates: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Bisection:
    """What is asked. ``command``: installs the commit, in its worktree; may be empty.

    ``python``: the interpreter that measures, a relative path in the worktree. ``gates``: metric ->
    share of 1 that fails, as of `compare.parse_gates`; ``None``: all, by their own smallest effect.
    ``said``: is given each verdict.
    """

    cell: Cell
    good: str
    bad: str
    command: Sequence[str]
    repository: Path
    out: Path
    python: str
    replicates: int
    gates: dict[str, float] | None
    said: Callable[[str], None]

    def records(self, tree: Worktree, commit: str, replicates: int) -> list[Record]:
        """Those of ``commit``, measured as far as they are not there.

        Raises `_CannotMeasureError`.
        """
        folder = self.out / "commits" / commit
        missing = [
            number
            for number in range(replicates)
            if not record_path(folder, self.cell.id, number).exists()
        ]
        if missing:
            tree.switch(commit)
            if self.command:
                self._run(tree, list(self.command), "the command")
            for number in missing:
                self._run(tree, self._measurement(tree, folder, number), "alignmeter cell")
        found = load_folders([folder]).records if folder.is_dir() else []
        self._check(tree, commit, found)
        return found

    def _measurement(self, tree: Worktree, folder: Path, number: int) -> list[str]:
        python = tree.path / self.python if "/" in self.python else Path(self.python)
        places = []
        for name in PATHS:
            value = str(getattr(self.cell, name))
            path = path_of(name, value)
            if path is not None and Path(path).exists():
                places += [AXES[name].flag, value.replace(path, str(Path(path).absolute()), 1)]
        return [
            str(python), "-P", "-m", "alignmeter", "cell", str(self.out / "cell.json"), *places,
            "--replicate", str(number), "--run", folder.name, "--out", str(folder),
        ]  # fmt: skip

    def _run(self, tree: Worktree, command: list[str], what: str) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - what the user gave, and ourselves
                command, cwd=tree.path, env=tree.environment(), capture_output=True,
                encoding="utf-8", errors="replace", check=False,
            )  # fmt: skip
        except OSError as error:
            raise InputError(f"{command[0]}: cannot be started: {error.strerror}") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            said = shortened(plain(lines[-1]), _SAID) if lines else "it said nothing"
            raise _CannotMeasureError(f"{what} ended with {done.returncode}: {said}")

    def _check(self, tree: Worktree, commit: str, found: Sequence[Record]) -> None:
        bad = next((r.status for r in found if r.status != "ok"), "" if found else "no record")
        if bad:
            raise _CannotMeasureError(bad)
        others = {(r.provenance.commit or "none").partition("+")[0] for r in found} - {commit}
        if tree.is_ours and others:
            measured = min(others)
            raise InputError(
                f"{measured[:12]} was measured in place of {commit[:12]}: the command has to "
                "install the worktree that it is started in"
            )


def bisect(asked: Bisection) -> Found:
    """The first commit at which the cell fails the gate versus ``good``.

    Raises `InputError` if the gate cannot tell ``good`` from ``bad``, if one of the two cannot be
    measured, or for a revision that git does not know.
    """
    with locked(asked.out), Worktree(asked.repository, asked.out / "worktree") as tree:
        write_bytes(asked.out / "cell.json", _spec(asked.cell))
        good, bad = tree.commit(asked.good), tree.commit(asked.bad)
        base, failing = _ends(asked, tree, good, bad)
        text = tree.git("bisect", "start", bad, good)
        while True:
            if first := _FIRST.search(text):
                return Found(commit=first[1])
            here = tree.commit("HEAD")
            verdict, why = _verdict(asked, tree, here, base, failing)
            asked.said(f"{here[:12]} {verdict}: {why}")
            text = tree.git("bisect", verdict, may_fail=verdict == _SKIP)
            if "only 'skip'ped commits left" in text:
                return Found(commit="", candidates=re.findall(r"^[0-9a-f]{40,64}$", text, re.M))


def _ends(asked: Bisection, tree: Worktree, good: str, bad: str) -> tuple[list[Record], list[str]]:
    """GOOD's records, and the metrics in which BAD fails."""
    sides = {}
    for name, commit in (("GOOD", good), ("BAD", bad)):
        try:
            sides[name] = asked.records(tree, commit, asked.replicates)
        except _CannotMeasureError as error:
            raise InputError(f"{name}, {commit[:12]}, cannot be measured: {error}") from error
    found = compare(sides["GOOD"], sides["BAD"], asked.gates)
    failing = [row for row in failures(found, asked.gates) if row.metric in METRICS]
    if not failing:
        said = "; ".join(_text(row) for row in found.rows if _counts(row, asked.gates))
        raise InputError(
            f"the gate cannot tell GOOD from BAD ({shortened(said, _SAID)}); "
            "give more --replicates or another --fail-on"
        )
    asked.said(f"BAD versus GOOD: {'; '.join(map(_text, failing))}")
    return sides["GOOD"], [row.metric for row in failing]


def _counts(row: CellComparison, gates: Iterable[str] | None) -> bool:
    return row.metric in METRICS and (gates is None or row.metric in gates)


def _text(row: CellComparison) -> str:
    effect = "" if row.effect_percent is None else f" {row.effect_percent:+.1f} %"
    return f"{row.metric} {row.verdict}{effect}"


def _verdict(
    asked: Bisection, tree: Worktree, commit: str, base: list[Record], failing: list[str]
) -> tuple[str, str]:
    """``good``, ``bad`` or ``skip`` as git has them, and why. What so many replicates do not decide
    is measured as often again.
    """
    why = ""
    for replicates in (asked.replicates, _TWICE * asked.replicates):
        try:
            mine = asked.records(tree, commit, replicates)
        except _CannotMeasureError as error:
            return _SKIP, str(error)
        rows = [r for r in compare(base, mine, asked.gates).rows if r.metric in failing]
        why = "; ".join(map(_text, rows))
        if any(row.verdict == "regressed" for row in rows):
            return "bad", why
        if all(row.verdict in ("equal", "improved") for row in rows):
            return "good", why
    return _SKIP, why


def _spec(cell: Cell) -> bytes:
    """The cell without fields at their defaults: older commits do not know every axis."""
    kept = {
        one.name: value
        for one in msgspec.structs.fields(cell)
        if (value := getattr(cell, one.name)) != one.default
    }
    return msgspec.json.encode(kept)
