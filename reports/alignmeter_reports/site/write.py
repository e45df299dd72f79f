"""The files of a site: ``index.html``, ``latest.html``, ``nights/*.html``, ``cells/*.html``."""

__all__ = ["write_site"]

from dataclasses import dataclass, replace
from pathlib import Path

from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.analysis.likeness import current, groups
from alignmeter.analysis.nights import Night, nights
from alignmeter.analysis.prices import Prices
from alignmeter.errors import InputError
from alignmeter.records.folder import Loaded, write_bytes
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.page import Neighbours, environment, render_page
from alignmeter_reports.site.cells import CellNight, Tried, file_stem, histories
from alignmeter_reports.site.nights import night_rows
from alignmeter_reports.site.sameness import is_made_from, made_from
from alignmeter_reports.site.trend import trend
from alignmeter_reports.view import Sources, gathered

MOST_NIGHTS = 30
"""Nights that have a page of their own, the newest; the pages of cells have them all."""


def write_site(
    loaded: Loaded, folder: Path, title: str = "alignmeter", *, prices: Prices | None = None
) -> None:
    """Write all pages below ``folder``; equal records give equal files.

    A night's page that was made from the same is left as it is: it takes seconds to draw. Raises
    `InputError` if a page cannot be written, or if no record says when it was made.
    """
    loaded = replace(loaded, records=with_clock_drift(loaded.records))
    found = nights(loaded.records)
    if not found:
        raise InputError(
            f"{folder}: no record says when it was made, so there is no night to show; "
            "provenance.started should be a time such as 2026-01-31T10:00:00+00:00"
        )
    site = _Site(folder=folder, loaded=loaded, title=title, prices=prices)
    files = {night.name: f"{_file_name(night)}.html" for night in found[-MOST_NIGHTS:]}
    stems: dict[object, str] = {}
    tried = [_tried(night, files, stems) for night in found]
    for one in tried[-len(files) :]:
        _write_night(site, one, files, stems)
    _write_others(site, tried, files, stems)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """What every page is made from, and where they go."""

    folder: Path
    loaded: Loaded
    title: str
    prices: Prices | None

    def write(self, name: str, text: str) -> None:
        """``name``: path below the site's folder."""
        write_bytes(self.folder / name, text.encode("utf-8", "backslashreplace"))

    def sources(self, night: Night, *, latest: bool) -> Sources:
        """Of one night. What other commands stored is of no night; it stands with the latest."""
        stored = self.loaded if latest else Loaded(records=[], refused=[])
        path_of = self.loaded.path_of()
        paths = [path_of[id(record)] for record in night.records] if path_of else []
        return Sources(
            loaded=replace(stored, records=night.records, paths=paths),
            title=f"{self.title}, night of {night.name}",
            prices=self.prices,
        )


def _tried(night: Night, files: dict[str, str], stems: dict[object, str]) -> Tried:
    """The cells of a night; those that no night had before get a name for their file."""
    newest = current(groups(night.records))
    rows = cell_rows(newest)
    page = f"../nights/{files[night.name]}" if night.name in files else ""
    for group in newest:
        if group.alike not in stems:
            stems[group.alike] = file_stem(group.cell.id, stems)
    return night, [
        (group, CellNight(night=night.name, row=row, page=page and f"{page}#{row.anchor}"))
        for group, row in zip(newest, rows, strict=True)
    ]


def _write_night(site: _Site, one: Tried, files: dict[str, str], stems: dict[object, str]) -> None:
    night, rows = one
    named = [*files.values()]
    at = named.index(files[night.name])
    around = Neighbours(
        index="../index.html",
        earlier=named[at - 1] if at else "",
        later=named[at + 1] if at + 1 < len(named) else "",
        cells={row.row.anchor: f"../cells/{stems[group.alike]}.html" for group, row in rows},
        made_from="",
    )
    sources = site.sources(night, latest=at + 1 == len(named))
    around = replace(around, made_from=made_from(sources, around))
    name = f"nights/{files[night.name]}"
    if not is_made_from(site.folder / name, around.made_from):
        site.write(name, render_page(gathered(sources), around))


def _write_others(
    site: _Site, tried: list[Tried], files: dict[str, str], stems: dict[object, str]
) -> None:
    """The index, the link to the latest night, and the pages of cells."""
    templates = environment()
    listed = histories(tried, stems)
    pages = {name: f"nights/{file}" for name, file in files.items()}
    rows = night_rows(tried, pages)
    index = templates.get_template("site/index.html.j2")
    site.write("index.html", index.render(title=site.title, nights=rows, cells=listed))
    latest = templates.get_template("site/latest.html.j2")
    site.write(
        "latest.html", latest.render(title=site.title, night=rows[0].name, page=rows[0].page)
    )
    template = templates.get_template("site/cell.html.j2")
    for one in listed:
        charts = [trend(part.nights, part.changed) for part in one.hardware]
        text = template.render(title=site.title, one=one, charts=charts)
        site.write(f"cells/{one.stem}.html", text)


def _file_name(night: Night) -> str:
    return night.name.replace(" ", "-").replace(":", "")
