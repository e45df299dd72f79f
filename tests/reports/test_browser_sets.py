"""Whole pages of the sample, two vendors, fourteen nights and four devices, in a real Chromium."""

import contextlib
from pathlib import Path

import msgspec
import pytest
from chromium import (
    A4_LANDSCAPE_PX,
    CUT_TEXTS,
    LINES,
    OVERFLOWING,
    PATH,
    TALL_ROWS,
    WIDTHS,
    launched,
    serious_faults,
    tab,
)  # fmt: skip
from made_nights import write_nights
from made_vendors import write_vendors

from alignmeter.records.folder import load_folders
from alignmeter_reports import write_report

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
FEW = {"methods": ("dpo", "ppo", "grpo"), "architectures": ("llama", "mamba")}
OTHERS = {"NVIDIA H200": "NVIDIA B200", "AMD Instinct MI300X": "AMD Instinct MI355X"}

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(PATH is None, reason="no Chromium on PATH; apt-get install chromium"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright; pip install playwright, or tox -e exhaustive"
)
pytest.importorskip(
    "axe_playwright_python", reason="no axe-core; pip install axe-playwright-python"
)


def sample(_):
    return load_folders([SAMPLE])


def vendors(folder):
    return load_folders([write_vendors(folder, **FEW)])


def nights(folder):
    return load_folders([write_nights(folder)])


def four(folder):
    """The two devices, and the same figures under two other names."""
    loaded = vendors(folder)
    for record, path in list(zip(loaded.records, loaded.paths, strict=True)):
        place = record.provenance
        other = msgspec.structs.replace(place, device=OTHERS[place.device])
        loaded.records.append(msgspec.structs.replace(record, provenance=other))
        loaded.paths.append(path)
    return loaded


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started, contextlib.closing(launched(started)) as running:
        yield running


@pytest.fixture(scope="module", params=[sample, vendors, nights, four], ids=lambda f: f.__name__)
def report(request, tmp_path_factory):
    """The page of one set."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    write_report(request.param(folder / "records"), folder / "r.html")
    return folder / "r.html"


@pytest.fixture
def opened(browser, report):
    """Opens the page with what is folded open, which has to log nothing."""
    pages = []

    def opener(**options):
        pages.append(tab(browser, report, **options))
        pages[-1].evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        return pages[-1]

    yield opener
    for page in pages:
        assert page.said == []
        page.context.close()


def test_no_width_cuts_anything(opened):
    page = opened()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOWING) == [], width
        assert page.evaluate(CUT_TEXTS) == [], width


def test_a_row_has_at_most_three_lines(opened):
    """As the page opens: a reason that a reader unfolds may be longer."""
    page = opened(viewport={"width": 1440, "height": 900})
    page.evaluate("document.querySelectorAll('td details').forEach(d => { d.open = false; })")
    assert page.evaluate(TALL_ROWS, LINES) == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_no_serious_fault(opened, scheme, width):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900})
    assert serious_faults(page) == []


def on_paper(table, head):
    """Whether the column is there: of many devices its cells say what they are, and no head."""
    cells = table.locator(f"tbody td.c-{head.get_attribute('data-key')}")
    return head.is_visible() or (cells.count() and cells.first.is_visible())


@pytest.mark.parametrize("chosen", ["usual", "all"])
def test_paper_has_every_column_or_says_which_are_left_out(opened, chosen):
    page = opened(viewport={"width": 1440, "height": 900})
    if chosen == "all":
        for box in page.locator(".chooser input").all():
            box.check()
    page.emulate_media(media="print")
    page.set_viewport_size({"width": A4_LANDSCAPE_PX, "height": 700})
    wide = page.eval_on_selector_all(
        ".scroll > table", "all => all.map(one => [one.getBoundingClientRect().right, "
        "one.closest('section').getAttribute('aria-labelledby')])"
    )  # fmt: skip
    assert [one for one in wide if one[0] > A4_LANDSCAPE_PX] == []
    for table in page.locator("table[data-choose]").all():
        heads = table.locator("thead th[data-key]").all()
        hidden = {head.text_content().strip() for head in heads if not on_paper(table, head)}
        said = table.locator("xpath=ancestor::section").locator(".left-out").all_inner_texts()
        assert all(name in " ".join(said) for name in hidden)
