"""Tables and charts of two devices in a real Chromium, at every width and in print."""

import contextlib
import re

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
    tab,
)  # fmt: skip
from made_vendors import write_vendors

from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import load_folders
from alignmeter_reports import write_report

PRICES = Prices(currency="EUR", per_hour={"NVIDIA H200": 3.5, "AMD Instinct MI300X": 2.9})

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(PATH is None, reason="no Chromium on PATH; apt-get install chromium"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright; pip install playwright, or tox -e exhaustive"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_vendors(
        folder / "records", methods=("dpo", "ppo", "grpo"), architectures=("llama", "mamba")
    )
    write_report(load_folders([folder / "records"]), folder / "r.html", prices=PRICES)
    return folder / "r.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started, contextlib.closing(launched(started)) as running:
        yield running


@pytest.fixture
def opened(browser, report):
    """Opens the page, which has to log nothing."""
    pages = []

    def opener(width=1440, height=900, **options):
        size = {"width": width, "height": height}
        pages.append(tab(browser, report, viewport=size, **options))
        return pages[-1]

    yield opener
    for page in pages:
        assert page.said == []
        page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_cuts_a_table_a_word_or_a_chart(opened, width):
    page = opened(width)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(CUT_TEXTS) == []


@pytest.mark.parametrize("width", [1440, 2560])
def test_a_row_has_at_most_three_lines(opened, width):
    assert opened(width).evaluate(TALL_ROWS, LINES) == []


@pytest.mark.parametrize("table", ["#cells", ".vendors"])
def test_the_first_column_stays_while_the_others_scroll(opened, table):
    page = opened(768)
    moved = page.eval_on_selector(table, """table => {
        const scroll = table.parentNode, [first, second] = table.tBodies[0].rows[0].cells;
        const places = () => [first, second].map((cell) => cell.getBoundingClientRect().left);
        const before = places();
        scroll.scrollLeft = 200;
        const after = places();
        return [before[0] - after[0], before[1] - after[1]];
    }""")  # fmt: skip
    assert moved == [0, 200]


def test_the_chooser_shows_what_is_ticked_and_names_the_rest(opened):
    page = opened()
    table = page.locator("#cells")
    chooser = page.locator("section[aria-labelledby=matrix] .chooser")
    left = page.locator("section[aria-labelledby=matrix] .left-out")
    hidden = table.locator("thead th[data-more]")
    names = [name.strip() for name in hidden.all_text_contents()]
    assert names
    assert left.inner_text() == f"Columns left to the CSV: {', '.join(names)}."
    assert not any(head.is_visible() for head in hidden.all())
    chooser.locator("summary").click()
    for name in names:
        chooser.get_by_label(name, exact=True).check()
    assert all(head.is_visible() for head in hidden.all())
    assert left.inner_text() == ""
    chooser.get_by_label("status").uncheck()
    assert not table.locator("td.c-status").first.is_visible()
    assert left.inner_text() == "Columns left to the CSV: status."


def test_the_head_of_a_device_spans_its_columns_whatever_is_chosen(opened):
    page = opened(2560)
    edges = """table => Array.from(table.querySelectorAll("th[scope=colgroup]"), (head, k) => [
        head.getBoundingClientRect().left,
        table.querySelectorAll("thead th.first")[k].getBoundingClientRect().left])"""
    chooser = page.locator("section[aria-labelledby=vendors] .chooser").first
    chooser.locator("summary").click()
    for name in ("kernel path", "peak memory"):
        chooser.get_by_label(name).click()
        places = page.eval_on_selector(".vendors", edges)
        assert len(places) == 2
        assert all(head == pytest.approx(first, abs=1) for head, first in places)


def test_a_telephone_has_name_verdict_and_figure_of_a_row_at_once(opened):
    """On one screen: the cell's name, its status and its step time; of a device what it took."""
    page = opened(390, 844)
    wanted = {"#cells": ["th", ".c-status", ".c-time", ".c-peak"],
              ".vendors": ["th", ".c-time", ".c-ratio", ".c-agree"]}  # fmt: skip
    for table, cells in wanted.items():
        found = page.eval_on_selector(table, """(table, cells) => {
            const row = table.tBodies[0].rows[0], top = row.getBoundingClientRect().top;
            return cells.flatMap((one) => Array.from(row.querySelectorAll(one), function (cell) {
                const place = cell.getBoundingClientRect();
                return [place.right, place.bottom - top];
            }));
        }""", cells)  # fmt: skip
        assert len(found) >= len(cells)
        assert all(right <= 390 and below <= 844 for right, below in found)
    label = "cell => getComputedStyle(cell, '::before').content"
    assert "step time" in page.locator("#cells .c-time[data-value]").first.evaluate(label)
    assert "NVIDIA H200" in page.locator(".vendors td.first").first.evaluate(label)


def test_print_is_a4_landscape_and_has_every_column_or_says_which_are_in_the_csv(opened):
    page = opened()
    sheets = page.pdf(prefer_css_page_size=True)
    width, height = map(float, re.search(rb"MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", sheets).groups())
    assert (round(width), round(height)) == (842, 595)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": A4_LANDSCAPE_PX, "height": 700})
    wide = page.eval_on_selector_all(
        ".scroll > table", "all => all.map(one => [one.getBoundingClientRect().right, "
        "one.closest('section').getAttribute('aria-labelledby')])"
    )  # fmt: skip
    assert [one for one in wide if one[0] > A4_LANDSCAPE_PX] == []
    hidden = page.locator("#cells thead th[data-more]").all_text_contents()
    sentence = page.locator("section[aria-labelledby=matrix] .left-out")
    assert sentence.is_visible()
    assert all(name.strip() in sentence.inner_text() for name in hidden)
    assert not page.locator(".chooser").first.is_visible()


def test_without_a_script_every_column_is_there(opened):
    page = opened(java_script_enabled=False)
    assert all(head.is_visible() for head in page.locator("#cells thead th").all())
    assert page.locator(".chooser").count() == 0


def test_the_id_of_a_row_is_a_short_link_with_a_button_that_copies_it(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    row = page.locator("#cells tbody tr").first
    link, button = row.locator(".id a"), row.locator(".id button")
    button.click()
    row.get_by_role("button", name="copied").wait_for()
    whole = page.evaluate("navigator.clipboard.readText()")
    assert link.get_attribute("href") == f"#cell-{whole}"
    assert whole.endswith(f"-{link.inner_text()}")
    assert len(link.inner_text()) == 8


def test_no_two_rows_read_alike(opened):
    page = opened()
    names = page.eval_on_selector_all(
        "#cells tbody tr", "all => all.map(row => row.cells[0].firstChild.parentNode.innerText"
        ".replace(/[0-9a-f]{8} copy$/, '') + row.querySelector('.c-device').innerText)"
    )  # fmt: skip
    assert len(names) == len(set(names))
