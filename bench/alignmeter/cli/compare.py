"""`alignmeter compare`: did anything get worse?"""

__all__ = ["compare"]

from collections.abc import Sequence
from pathlib import Path

import click

from alignmeter.analysis import compare as comparing
from alignmeter.cli.options import note
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, no_records, write_bytes
from alignmeter.records.record import Record
from alignmeter.streams import tell
from alignmeter.text import plain

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("base", type=_FOLDER)
@click.argument("new", type=_FOLDER)
@click.option("--fail-on", metavar="GATES", help="Metrics that count, with the change that fails: "
              "time:3%,memory:1% (known: time, memory, energy, tokens; default: all).")  # fmt: skip
@click.option("--paired", is_flag=True, help="BASE and NEW were measured in turns, replicate by "
              "replicate: compare those of one number.")  # fmt: skip
@click.option("--baseline", type=click.Choice(["all", "last-good"]), default="all",
              show_default=True, help="Of the runs in BASE: all of them, or for each kind of node "
              "the last one before NEW whose figures are all valid.")  # fmt: skip
@click.option("--same-versions", is_flag=True, help="With --baseline last-good: only runs with "
              "NEW's versions, driver and variables.")  # fmt: skip
@click.option("--allow-unjudged", is_flag=True, help="Exit status 0 also where a metric that "
              "counts has no verdict in any cell.")  # fmt: skip
@click.option("--md", type=_FILE, metavar="FILE", help="Also Markdown, for a job summary.")
@click.option("--junit", type=_FILE, metavar="FILE", help="Also JUnit XML.")
@click.option("--bmf", type=_FILE, metavar="FILE", help="Also NEW's figures for Bencher (JSON).")
def compare(
    base: Path, new: Path, fail_on: str | None, paired: bool, baseline: str,
    same_versions: bool, allow_unjudged: bool, md: Path | None, junit: Path | None,
    bmf: Path | None,
) -> None:  # fmt: skip
    """Compare the records in folder NEW with those in folder BASE.

    A verdict per cell and metric: time per step, peak memory, energy per step
    and trained tokens per s. It takes 3 replicates a side; memory takes one.

    Exit status: 0 nothing failed, 1 something regressed, was lost or could
    not be judged, 2 wrong usage, or nothing to compare.
    """
    from alignmeter.terminal.agreement import agreement_parts, agreement_sentences
    from alignmeter.terminal.comparison import comparison_parts
    from alignmeter.terminal.tables import print_parts

    gates = None if fail_on is None else comparing.parse_gates(fail_on)
    if same_versions and baseline == "all":
        raise InputError("--same-versions chooses among runs; it goes with --baseline last-good")
    theirs, bad_theirs = _records(new)
    if baseline == "all":
        ours, bad_ours = _records(base)
    else:
        ours, bad_ours = _last_good(base, theirs, same_versions=same_versions)
    found = comparing.compare(ours, theirs, gates, paired=paired)
    failed = comparing.failures(found, gates)
    blind = comparing.unjudged(found, gates)
    unjudged = comparing.unjudged_text(found, blind) if blind else ""
    print_parts([*comparison_parts(found, failed, unjudged), *agreement_parts(theirs)])
    notes = agreement_sentences(theirs)
    if md is not None:
        text = comparing.markdown_text(found, failed, notes, unjudged=unjudged)
        _write(md, text.encode())
    if junit is not None:
        _write(junit, comparing.junit_xml(found, failed, notes))
    if bmf is not None:
        _write(bmf, comparing.bencher_json(found))
    if failed or (blind and not allow_unjudged):
        raise click.exceptions.Exit(1)
    if bad_ours or bad_theirs:
        raise click.exceptions.Exit(2)


def _records(folder: Path) -> tuple[list[Record], bool]:
    """The records, and whether a file among them was none."""
    loaded = load_folders([folder])
    for sentence in loaded.refused:
        tell(f"Error: {sentence}")
    if not loaded.records:
        raise no_records([folder])
    return loaded.records, bool(loaded.refused)


def _last_good(
    base: Path, new: Sequence[Record], *, same_versions: bool
) -> tuple[list[Record], bool]:
    """The same of the last good run in ``base`` of each kind of node."""
    from alignmeter.analysis.history import read_runs
    from alignmeter.analysis.last_good import last_good

    refused: list[str] = []
    found = last_good(read_runs(base, refused), new, same_versions=same_versions)
    for sentence in refused:
        tell(f"Error: {sentence}")
    for run in found.runs:
        note(f"the last good run on {plain(run)}")
    return found.records, bool(refused)


def _write(path: Path, data: bytes) -> None:
    # Files are replaced whole: what is no file, such as a pipe, must not be.
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a file; give the name of one to write")
    write_bytes(path, data)
