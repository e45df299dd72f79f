"""Plans beside peaks that others measured, which is docs/plan-vs-published.md.

Made by ``python tests/trust/published.py > docs/plan-vs-published.md``.

Each row of published.toml is planned from its model's config alone, for the chip that it names.
``--rows FILE`` takes the rows of another file of that form. Takes some minutes.
"""

__all__ = ["Compared", "compared", "main", "page"]

import json
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from alignmeter.analysis.chips import peak
from alignmeter.architectures.checkpoint import configs_alone
from alignmeter.errors import InputError
from alignmeter.planner import on_chip, plan_cell
from alignmeter.records.prediction import Prediction
from alignmeter.session.resolve import resolve_cell

ROWS = Path(__file__).with_name("published.toml")
COMMON = {"method": "sft", "accelerator": "cuda", "data": "synthetic", "prompt_len": 1}
"""Axes of every row; its own win. Packed text is all response."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A row of the file and its plan; ``None`` where the row cannot be said."""

    row: Mapping[str, Any]
    source: Mapping[str, str]
    plan: Prediction | None

    @property
    def planned_bytes(self) -> int | None:
        """The plan's figure of the row's kind: segments for reserved, else blocks in use."""
        if self.plan is None:
            return None
        return self.plan.reserved_bytes if self.row["kind"] == "reserved" else self.plan.peak_bytes

    @property
    def error_percent(self) -> float | None:
        """How far the plan is above what was measured."""
        planned = self.planned_bytes
        return None if planned is None else 100 * (planned / self.row["peak_bytes"] - 1)

    @property
    def counts(self) -> bool:
        """Whether the row says all that a plan needs, and which figure it is."""
        return self.plan is not None and not self.row.get("open", False)


def compared(document: Mapping[str, Any]) -> Iterator[Compared]:
    """Plan each row.

    Raises `InputError` for axes that are none or contradict each other, `NotPlannedError` as plans
    do.
    """
    with tempfile.TemporaryDirectory() as folder, configs_alone():
        models = {}
        for name, config in document["model"].items():
            models[name] = str(Path(folder, f"{name}.json"))
            Path(models[name]).write_text(json.dumps(config))
        for row in document["row"]:
            plan = None if "cannot" in row else _plan(row, models)
            yield Compared(row=row, source=document["source"][row["source"]], plan=plan)


def _plan(row: Mapping[str, Any], models: Mapping[str, str]) -> Prediction:
    model = {"model": models[row["model"]]} if "model" in row else {}
    planned = resolve_cell({**COMMON, **model, **row["axes"]})
    if planned.contradiction is not None:
        raise InputError(f"{row['said']}: {planned.contradiction.text}")
    return on_chip(plan_cell(planned.cell), peak(row["chip"]).arch)


def page(rows: Sequence[Compared]) -> Iterator[str]:
    """docs/plan-vs-published.md, line by line."""
    yield Path(__file__).with_name("published.md").read_text().rstrip()
    yield ""
    yield "| published configuration | model | measured | kind | planned | error |"
    yield "|---|---|---:|---|---:|---:|"
    for n, found in enumerate(rows, 1):
        row = found.row
        notes = f"; {row['note']}" if "note" in row else ""
        planned, error = found.planned_bytes, found.error_percent
        said = [
            f"[{n}] {row['said']}{notes}",
            row.get("model", "of the paper"),
            _gb(row["peak_bytes"]),
        ]
        if planned is None or error is None:
            said += [row["kind"], f"cannot be expressed: {row['cannot']}", ""]
        else:
            mark = "" if found.counts else " (not counted)"
            said += [row["kind"], _gb(planned), f"{error:+.1f} %{mark}"]
        yield f"| {' | '.join(said)} |"
    errors = [abs(f.error_percent) for f in rows if f.counts and f.error_percent is not None]
    yield ""
    yield (
        f"{len(rows)} rows, {len(errors)} counted: median error {statistics.median(errors):.1f} %, "
        f"worst {max(errors):.1f} %."
    )
    yield ""
    yield "## Sources, and how each row is said"
    yield ""
    for n, found in enumerate(rows, 1):
        source, axes = found.source, found.row.get("axes")
        commit = f" at commit `{source['commit']}`" if source.get("commit") else ""
        words = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in (axes or {}).items())
        yield f"{n}. {source['name']}{commit}; {source['stack']}." + (
            f" `--method sft {words}`" if words else ""
        )


def _gb(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB"


@click.command()
@click.option("--rows", "path", type=click.Path(path_type=Path, exists=True), default=ROWS)
def main(path: Path) -> None:
    """Print the page."""
    document = tomllib.loads(path.read_text())
    found = []
    for row in compared(document):
        found.append(row)
        error = row.error_percent
        click.echo(f"{len(found)} {'-' if error is None else f'{error:+.1f} %'}", err=True)
    sys.stdout.write("\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
