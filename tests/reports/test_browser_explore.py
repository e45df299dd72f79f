"""Navigation, search and explorer in a real Chromium, on the sample and on both made sets."""

import contextlib
import re
from pathlib import Path

import pytest
from chromium import PATH, launched, serious_faults, tab
from made_nights import write_nights
from made_vendors import write_vendors

from alignmeter.records.folder import load_folders
from alignmeter_reports import write_report
from alignmeter_reports.site import write_site

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
SETS = {"sample": lambda _: SAMPLE, "vendors": write_vendors, "nights": write_nights}
WIDTHS = (390, 768, 1024, 1440, 2560)

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


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started, contextlib.closing(launched(started)) as running:
        yield running


@pytest.fixture(scope="module", params=SETS)
def report(request, tmp_path_factory):
    """The page of one set."""
    folder = tmp_path_factory.mktemp(request.param)
    write_report(load_folders([SETS[request.param](folder / "records")]), folder / "r.html")
    return folder / "r.html"


@pytest.fixture
def opened(browser, report):
    """Opens the page, whose context ends with the test; the page has to log nothing."""
    pages = []

    def opener(fragment="", **options):
        pages.append(tab(browser, report, fragment, **options))
        return pages[-1]

    yield opener
    for page in pages:
        assert page.said == []
        assert page.asked == [report.as_uri()]
        page.context.close()


def figures(page):
    """Anchor of a cell -> the text of its figure in the pivot."""
    return dict(page.eval_on_selector_all(
        "#pivot button", "all => all.map(b => [b.dataset.cell, b.querySelector('span').innerText])"
    ))  # fmt: skip


def choose(page, name, value):
    page.select_option(f"#choose-{name}", value)


def show_all(page):
    """Take every axis that is held at a value off its value."""
    for name in page.eval_on_selector_all("[id^='choose-is-']", "all => all.map(one => one.id)"):
        page.select_option(f"#{name}", "*")


def test_the_explorer_shows_every_cell_with_the_figure_of_its_row(opened):
    """Nothing is averaged and nothing left out: as many figures as rows, and the same."""
    page = opened("#explore", viewport={"width": 1440, "height": 900})
    assert 0 < len(figures(page)) <= page.locator("#cells tbody tr").count()
    show_all(page)
    found = figures(page)
    assert found.keys() == set(
        page.eval_on_selector_all("#cells tbody tr", "rows => rows.map(row => row.id)")
    )
    for anchor, text in found.items():
        row = page.locator(f"[id='{anchor}']")
        assert text in row.inner_text(), anchor
    assert page.locator("#explored").inner_text().startswith(f"{len(found)} of {len(found)} cells")


def test_a_link_opens_the_same_view_in_another_browser(opened):
    page = opened("#explore")
    choose(page, "rows", "peft")
    choose(page, "columns", "architecture")
    choose(page, "value", "peak")
    page.locator("#pivot button").last.click()
    page.locator("#panel h3").wait_for()
    assert page.evaluate("document.activeElement.matches('#panel h3')")
    view = "() => [document.getElementById('pivot').innerText, panel.innerText, location.hash]"
    hash_ = page.evaluate("location.hash")
    assert hash_.startswith("#explore&rows=peft&columns=architecture&value=peak")
    other = opened(hash_)
    assert other.evaluate(view) == page.evaluate(view)
    # Back to another view by its link alone, as a reader does who pastes it.
    other.evaluate("location.hash = '#explore&rows=method&columns=peft&value=time'")
    other.locator("#pivot caption", has_text="step time: method by PEFT").wait_for()


def test_a_link_with_what_is_not_there_shows_what_is_usual(opened):
    usual = figures(opened("#explore"))
    wrong = opened("#explore&rows=nothing&columns=x&value=%3Cb%3E&is-size=none&cell=gone")
    assert figures(wrong) == usual
    assert not wrong.locator("#panel").is_visible()


def test_what_cells_of_one_place_differ_in_is_named_with_its_axis(opened):
    page = opened("#explore&is-seq_len=*&is-batch=*&is-peft=*")
    for text in page.locator("#pivot small").all_inner_texts():
        assert not re.search(r"(^|, )([\d.]+|on|off)(,|$)", text)


def test_keys_alone_pick_axes_and_open_a_cell(opened):
    page = opened("#explore")
    page.locator("#choose-value").focus()
    before = page.locator("#pivot caption").inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator("#pivot caption").inner_text() != before
    assert page.evaluate("document.activeElement.id") == "choose-value"
    page.locator("#pivot button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#panel h3").evaluate("heading => heading === document.activeElement")
    assert page.locator("#pivot [aria-pressed=true]").count() == 1


def test_the_panel_says_all_of_a_cell_that_was_measured(opened):
    page = opened("#explore")
    anchor = next(a for a, text in figures(page).items() if text[0].isdigit() and "*" not in text)
    page.locator(f"#pivot [data-cell='{anchor}']").click()
    text = page.locator("#panel").inner_text()
    for title in ("Figures", "Steps", "Phases", "Ledger", "Validity", "Provenance", "Repeat it"):
        assert title in text
    command = page.locator("#panel .copy").get_attribute("data-copy")
    link = page.locator("#panel a", has_text="Its row")
    assert link.get_attribute("href") == f"#{anchor}"
    row = page.locator("#command li", has=page.locator(f"a[href='#{anchor}']"))
    assert command is None or command in page.content()
    assert row.count() <= 1


def test_every_section_is_in_the_list_and_what_is_empty_says_why(opened):
    page = opened(viewport={"width": 1440, "height": 900})
    links = page.locator("nav a[href^='#']")
    for link in links.all():
        assert page.locator(f"[id='{link.get_attribute('href')[1:]}']").is_visible()
    headings = page.locator("main > section > h2")
    assert links.all_inner_texts() == [
        text.partition(": 2026")[0] for text in headings.all_inner_texts()
    ]
    for reason in page.locator("dl.absent dd").all_inner_texts():
        assert len(reason) > 10
    links.nth(3).click()
    page.locator("nav [aria-current]").wait_for()


def test_search_finds_a_row_and_brings_it_out_of_the_filter(opened):
    page = opened(viewport={"width": 1440, "height": 900})
    row = page.locator("#cells tbody tr").last
    # Rows of one cell on several devices, or before and after a driver, share its digest.
    words = " ".join(
        [row.locator(".id a").inner_text(), *row.locator(".c-device").all_inner_texts()]
    )
    page.locator("#filter").fill("nothing has this")
    page.get_by_label("Search the page").fill(words)
    assert "place" in page.locator("#found").inner_text()
    found = page.locator("#hits > li", has=page.get_by_text("Every cell", exact=True))
    found.locator("button").first.click()
    assert row.is_visible()
    assert row.evaluate("row => row === document.activeElement")
    page.get_by_label("Search the page").fill("no page has these words")
    assert page.locator("#found").inner_text() == "0 places"
    page.get_by_label("Search the page").fill("")
    assert page.locator("#hits li").count() == 0


def test_no_width_cuts_the_page_off(opened):
    page = opened("#explore")
    page.locator("#pivot button").first.click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        cut = page.eval_on_selector_all(
            "nav *, .choices *, #panel *",
            "all => all.filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
            ".map(e => e.outerHTML.slice(0, 80))",
        )
        assert cut == [], width


def test_a_narrow_page_folds_its_sections_and_a_key_opens_them(opened):
    page = opened(viewport={"width": 390, "height": 844})
    assert not page.locator("nav a").first.is_visible()
    page.locator("nav summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("nav a").first.is_visible()
    page.locator("nav a").nth(2).click()
    assert not page.locator("nav a").first.is_visible()


def test_without_a_script_the_sections_stand_open_and_the_explorer_is_away(opened):
    page = opened(java_script_enabled=False, viewport={"width": 390, "height": 844})
    assert page.locator("nav a").first.is_visible()
    assert not page.locator("#exploring").is_visible()
    assert not page.locator("#search").is_visible()
    assert page.locator("section[aria-labelledby=explore] a[href='#matrix']").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_no_serious_fault_in_what_a_script_draws(opened, scheme):
    page = opened("#explore", color_scheme=scheme, viewport={"width": 1440, "height": 900})
    page.locator("#pivot button").first.click()
    page.get_by_label("Search the page").fill("memory")
    assert serious_faults(page, "nav", "section[aria-labelledby=explore]", "dl.absent") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_a_site_have_no_serious_fault_and_are_not_cut(browser, tmp_path, scheme):
    cells = (("dpo", "mamba", "full"), ("ppo", "llama", "full"))
    loaded = load_folders([write_nights(tmp_path / "records", cells=cells, replicates=1)])
    write_site(loaded, tmp_path / "site")
    pages = [tmp_path / "site" / "index.html", *(tmp_path / "site" / "cells").iterdir()]
    for path in pages:
        page = tab(browser, path, color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert serious_faults(page) == []
        page.context.close()
    page = tab(browser, tmp_path / "site" / "latest.html")
    page.wait_for_url("**/nights/*.html")
    page.locator("#pivot button").first.click()
    page.get_by_role("link", name="All its nights").click()
    page.wait_for_url("**/cells/*.html")
    page.get_by_role("link", name="All nights").click()
    page.wait_for_url("**/index.html")
    assert page.said == []
    page.context.close()
