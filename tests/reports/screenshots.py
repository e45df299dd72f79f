"""The pictures of docs/screens.md: ``python tests/reports/screenshots.py`` draws them again.

Of the sample, of two made vendors and of fourteen made nights: the first screen at 1440 pixels,
light and dark, and at 390, the explorer with a cell open, and the first sheet on paper. With
``--first FOLDER ...`` docs/report.png, the first screen of those records, and nothing else. Takes
Chromium, playwright, Pillow and, for paper, pdftoppm.
"""

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

from chromium import launched, tab
from made_nights import write_nights
from made_vendors import write_vendors
from PIL import Image

from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import load_folders
from alignmeter_reports import write_report

DOCS = Path(__file__).parents[2] / "docs"
SETS = {
    "sample": lambda _: DOCS / "sample",
    "vendors": write_vendors,
    "nights": write_nights,
}
PRICES = Prices(currency="EUR", per_hour={"NVIDIA H200": 3.5, "AMD Instinct MI300X": 2.9})
"""Made up, as the records of the two vendors are."""
LARGEST = 200_000
"""Bytes of one picture."""
COLOURS = (256, 128, 64)
"""Tried in turns until a picture is small enough."""
WIDE, PHONE = {"width": 1440, "height": 1300}, {"width": 390, "height": 1560}
SCREENS = {
    "light": {"viewport": WIDE},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE},
}
DOTS_PER_INCH = 90


def save(data, path):
    """Write a picture with as many colours as its size allows."""
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for colours in COLOURS:
        whole.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
        if path.stat().st_size <= LARGEST:
            return
    raise SystemExit(f"{path}: above {LARGEST} bytes with {colours} colours")


def paper(page, path):
    """The first sheet of the page."""
    with tempfile.TemporaryDirectory() as name:
        page.pdf(path=f"{name}/r.pdf", prefer_css_page_size=True)
        where = [f"{name}/r.pdf", f"{name}/r"]
        how = ["-png", "-singlefile", "-r", str(DOTS_PER_INCH)]
        subprocess.run(["pdftoppm", *how, *where], check=True)  # noqa: S607 - as on PATH
        save(Path(f"{name}/r.png").read_bytes(), path)


def explored(page):
    """The explorer with its last cell open."""
    page.locator("#pivot button").last.click()
    page.locator("section[aria-labelledby=explore]").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('explore').scrollIntoView()")
    return page.screenshot()


def pictures(browser, name, report):
    """Every picture of one set."""
    DOCS.joinpath("screens").mkdir(exist_ok=True)
    for screen, options in SCREENS.items():
        page = tab(browser, report, **options)
        save(page.screenshot(), DOCS / "screens" / f"{name}-{screen}.png")
        if screen == "light":
            paper(page, DOCS / "screens" / f"{name}-paper.png")
            save(explored(page), DOCS / "screens" / f"{name}-explore.png")
        page.context.close()


def main():
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=Path, nargs="+", metavar="FOLDER")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        browser, report = launched(started), Path(name) / "r.html"
        if given.first:
            write_report(load_folders(given.first), report)
            page = tab(browser, report, viewport=WIDE)
            save(page.screenshot(), DOCS / "report.png")
            return
        for which, write in SETS.items():
            prices = PRICES if which == "vendors" else None
            loaded = load_folders([write(Path(name) / which)])
            write_report(loaded, report, prices=prices)
            pictures(browser, which, report)


if __name__ == "__main__":
    main()
