"""Which commit or environment made a cell worse: git's bisection, with the gate's verdicts.

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
from alignmeter.runs.revisions import PLACE, Commits, Environments, Revisions
from alignmeter.runs.worktree import Worktree
from alignmeter.text import plain, shortened, shown_path

_FIRST = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit", re.MULTILINE)
_NEXT = re.compile(r"^Bisecting: ", re.MULTILINE)
_TWICE = 2
"""Times as many replicates as asked for, where so many have not decided."""
_SKIP = "skip"
_SAID = 120


class _CannotMeasureError(Exception):
    """Of one commit; `git bisect run` has exit status 125 for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """``first``: the first bad one, by its name; empty where only such are left that cannot be
    measured, which are then ``candidates``.
    """

    first: str
    candidates: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """What is asked. ``command``: installs what is measured, in its worktree; may be empty.

    ``environments``: a file with one in each line; ``None``: commits of ``repository``.
    ``python``: the interpreter that measures, a relative path in the worktree. ``gates``: metric ->
    share of 1 that fails, as of `compare.parse_gates`; ``None``: all, by their own smallest effect.
    ``said``: is given each verdict.
    """

    cell: Cell
    good: str
    bad: str
    command: Sequence[str]
    repository: Path
    environments: Path | None = None
    out: Path
    python: str
    replicates: int
    gates: dict[str, float] | None
    said: Callable[[str], None]

    def revisions(self) -> Revisions:
        """What is gone through. Raises `InputError` as `Environments` does, and where nothing that
        is run would differ between these.
        """
        if self.environments is None:
            return Commits(self.repository)
        if not any(PLACE in part for part in (self.python, *self.command)):
            raise InputError(
                f"{self.environments}: {PLACE}, which stands for a line, is neither in --python "
                "nor in COMMAND, so all would be measured alike; write it where the line belongs"
            )
        return Environments(self.environments, self.out / "environments")


def bisect(asked: Bisection) -> Found:
    """The first commit or environment at which the cell fails the gate versus ``good``.

    Raises `InputError` if the gate cannot tell ``good`` from ``bad``, if one of the two cannot be
    measured, for a revision that git does not know, or for a folder whose records another command
    or interpreter measured.
    """
    with locked(asked.out):
        revisions = asked.revisions()
        with Worktree(revisions.repository, asked.out / "worktree") as tree:
            _keep_way(asked)
            write_bytes(asked.out / "cell.json", _spec(asked.cell))
            return _Search(asked, revisions, tree).first()


def _keep_way(asked: Bisection) -> None:
    """Say beside the records how they were measured: what came another way is no replicate."""
    path = asked.out / "measured-by.json"
    way = msgspec.json.encode({"python": asked.python, "command": list(asked.command)})
    if path.exists() and path.read_bytes() != way:
        raise InputError(
            f"{path}: another --python or COMMAND measured the records there; give both as the "
            "file has them, or another --out"
        )
    write_bytes(path, way)


@dataclass(frozen=True)
class _Search:
    asked: Bisection
    revisions: Revisions
    tree: Worktree

    def first(self) -> Found:
        tree, name = self.tree, self.revisions.name
        good, bad = map(self.revisions.commit, (self.asked.good, self.asked.bad))
        self.revisions.check_order(good, bad)
        # First, as git refuses a GOOD that comes after BAD; measuring may move the worktree's head.
        text, here = tree.git("bisect", "start", bad, good), tree.head()
        base, failing = self._ends(good, bad)
        while True:
            if first := _FIRST.search(text):
                return Found(first=name(first[1]))
            verdict, why = self._verdict(here, base, failing)
            self.asked.said(f"{self.revisions.shown(here)} {verdict}: {why}")
            # Its exit status is not 0 where only skipped ones are left, whichever verdict was last.
            text = tree.git("bisect", verdict, here, may_fail=True)
            if "only 'skip'ped commits left" in text:
                left = re.findall(r"^[0-9a-f]{40,64}$", text, re.M)
                return Found(first="", candidates=list(map(name, left)))
            if not (_FIRST.search(text) or _NEXT.search(text)):
                raise InputError(f"{tree.path}: git bisect failed: {shortened(plain(text), _SAID)}")
            here = tree.head()

    def _ends(self, good: str, bad: str) -> tuple[list[Record], list[str]]:
        """GOOD's records, and the metrics in which BAD fails."""
        sides, gates = {}, self.asked.gates
        for side, commit in (("GOOD", good), ("BAD", bad)):
            try:
                sides[side] = self._records(commit, self.asked.replicates)
            except _CannotMeasureError as error:
                shown = self.revisions.shown(commit)
                raise InputError(f"{side}, {shown}, cannot be measured: {error}") from error
        found = compare(sides["GOOD"], sides["BAD"], gates)
        failing = [row for row in failures(found, gates) if row.metric in METRICS]
        if not failing:
            said = "; ".join(_text(row) for row in found.rows if _counts(row, gates))
            raise InputError(
                f"the gate cannot tell GOOD from BAD ({shortened(said, _SAID)}); "
                "give more --replicates or another --fail-on"
            )
        self.asked.said(f"BAD versus GOOD: {'; '.join(map(_text, failing))}")
        return sides["GOOD"], [row.metric for row in failing]

    def _verdict(self, commit: str, base: list[Record], failing: list[str]) -> tuple[str, str]:
        """``good``, ``bad`` or ``skip`` as git has them, and why. What so many replicates do not
        decide is measured as often again.
        """
        why = ""
        for replicates in (self.asked.replicates, _TWICE * self.asked.replicates):
            try:
                mine = self._records(commit, replicates)
            except _CannotMeasureError as error:
                return _SKIP, str(error)
            rows = [r for r in compare(base, mine, self.asked.gates).rows if r.metric in failing]
            why = "; ".join(map(_text, rows))
            if any(row.verdict == "regressed" for row in rows):
                return "bad", why
            if all(row.verdict in ("equal", "improved") for row in rows):
                return "good", why
        return _SKIP, why

    def _records(self, commit: str, replicates: int) -> list[Record]:
        """Those of ``commit``, measured as far as they are not there.

        Raises `_CannotMeasureError`.
        """
        asked, tree = self.asked, self.tree
        folder = asked.out / "commits" / commit
        missing = [
            number
            for number in range(replicates)
            if not record_path(folder, asked.cell.id, number).exists()
        ]
        if missing:
            tree.switch(commit)
            if asked.command:
                filled = [self.revisions.filled(part, commit) for part in asked.command]
                self._run(filled, "the command")
            python = self.revisions.filled(asked.python, commit)
            for number in missing:
                self._run(self._measurement(python, folder, number), "alignmeter cell")
        found = load_folders([folder]).records if folder.is_dir() else []
        self._check(commit, found)
        return found

    def _measurement(self, python: str, folder: Path, number: int) -> list[str]:
        cell, places = self.asked.cell, []
        for name in PATHS:
            value = str(getattr(cell, name))
            path = path_of(name, value)
            if path is not None and Path(path).exists():
                places += [AXES[name].flag, value.replace(path, str(Path(path).absolute()), 1)]
        return [
            str(self.tree.path / python if "/" in python else python), "-P", "-m", "alignmeter",
            "cell", str(self.asked.out / "cell.json"), *places,
            "--replicate", str(number), "--run", folder.name, "--out", str(folder),
        ]  # fmt: skip

    def _run(self, command: list[str], what: str) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - what the user gave, and ourselves
                command, cwd=self.tree.path, env=self.tree.environment(), capture_output=True,
                encoding="utf-8", errors="replace", check=False,
            )  # fmt: skip
        except OSError as error:
            said = f"{shown_path(command[0])}: cannot be started: {error.strerror}"
            raise _CannotMeasureError(said) from error
        if done.returncode:
            lines = [
                line for line in (done.stderr.strip() or done.stdout).splitlines() if line.strip()
            ]
            said = shortened(plain(lines[-1]), _SAID) if lines else "it said nothing"
            raise _CannotMeasureError(f"{what} ended with {done.returncode}: {said}")

    def _check(self, commit: str, found: Sequence[Record]) -> None:
        bad = next((r.status for r in found if r.status != "ok"), "" if found else "no record")
        if bad:
            raise _CannotMeasureError(bad)
        others = {(r.provenance.commit or "none").partition("+")[0] for r in found} - {commit}
        if self.tree.is_ours and others:
            measured = min(others)
            raise InputError(
                f"{measured[:12]} was measured in place of {commit[:12]}: the command has to "
                "install the worktree that it is started in"
            )


def _counts(row: CellComparison, gates: Iterable[str] | None) -> bool:
    return row.metric in METRICS and (gates is None or row.metric in gates)


def _text(row: CellComparison) -> str:
    effect = "" if row.effect_percent is None else f" {row.effect_percent:+.1f} %"
    return f"{row.metric} {row.verdict}{effect}"


def _spec(cell: Cell) -> bytes:
    """The cell without fields at their defaults: older commits do not know every axis."""
    kept = {
        one.name: value
        for one in msgspec.structs.fields(cell)
        if (value := getattr(cell, one.name)) != one.default
    }
    return msgspec.json.encode(kept)
