"""The page in a real Chromium: what it does, how it reads, and that it stays by itself."""

import json
import re

import msgspec
import pytest
from chromium import PATH, launched, serious_faults, tab
from made_cells import make_cell_records
from made_records import make_record

from alignmeter.records.folder import Loaded
from alignmeter.records.record import Reason, decode_record, encode_record
from alignmeter_reports import write_report

HACK = "<script>window.__hacked=1</script><img src=x onerror='window.__hacked=1'>\""
FREE = ("status", "source", "id", "method")
"""Fields of a type of their own, which no text can be put in, and the method, which picks rows."""

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(PATH is None, reason="no Chromium on PATH; apt-get install chromium"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright; pip install playwright, or tox -e exhaustive"
)


def made():
    """Cells of several methods, architectures and PEFT modes, and replicates that failed."""
    found, seconds = [], 0.1
    for architecture in ("llama", "mamba"):
        for peft in ("full", "lora", "qlora"):
            for method in ("dpo", "ppo", "sft"):
                seconds *= 0.7 if method == "sft" else 1.9
                found += make_cell_records(
                    [seconds, seconds * 1.01, seconds * 0.99], peak=2**20 * len(found) + 2**20,
                    joules=seconds, method=method, architecture=architecture, peft=peft,
                )  # fmt: skip
    reason = Reason(code="out_of_memory", text="the allocator could not serve 2 GiB")
    return [*found, make_record(status="oom", reason=reason, method="rm")]


def hurt(value, name=""):
    if isinstance(value, dict):
        return {key: hurt(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [hurt(item) for item in value]
    return HACK if isinstance(value, str) and name not in FREE else value


def hostile():
    """Records with markup in every text field, and one of them failed."""
    found = [
        decode_record(json.dumps(hurt(json.loads(encode_record(record)))).encode(), "r")
        for method in ("dpo", "ppo")
        for record in make_cell_records([0.1] * 3, method=method, peak=2**20)
    ]
    failed = msgspec.structs.replace(
        found[0], status="crashed", replicate=9, reason=Reason(code=HACK, text=HACK)
    )
    return [*found, failed]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = launched(started)
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "r.html"
    write_report(Loaded(records=made(), refused=[]), path)
    return path


@pytest.fixture
def opened(browser, report):
    """Opens the report, with options for the browser's context."""
    contexts = []

    def open_report(path=report, **options):
        page = tab(browser, path, **options)
        contexts.append(page.context)
        return page

    yield open_report
    for context in contexts:
        context.close()


def times(page):
    """Step times down the column, of the rows that have one."""
    return page.eval_on_selector_all(
        "#cells tbody td.c-time[data-value]",
        "cells => cells.map(cell => Number(cell.dataset.value))",
    )


def visible(page):
    return page.locator("#cells tbody tr:visible").count()


@pytest.mark.parametrize("press", ["click", "Enter"])
def test_a_button_sorts_by_step_time_up_then_down(opened, press):
    page = opened()
    head = page.locator("#cells thead th", has_text="step time")
    before = times(page)
    for order, reverse in (("ascending", False), ("descending", True)):
        button = head.locator("button")
        button.click() if press == "click" else button.press(press)
        assert head.get_attribute("aria-sort") == order
        assert times(page) == sorted(before, reverse=reverse)
        assert "oom" in page.locator("#cells tbody tr").last.inner_text()
    assert before != sorted(before)
    assert page.locator("[aria-sort]").count() == 1


def test_the_filter_narrows_the_rows_and_says_how_many_are_left(opened):
    page = opened()
    whole = visible(page)
    page.get_by_label("Show only rows with").fill("ppo lora")
    left = page.locator("#cells tbody tr:visible").all_inner_texts()
    assert 0 < len(left) < whole
    assert all("ppo" in text.lower() and "lora" in text.lower() for text in left)
    assert page.locator("#shown").inner_text() == f"{len(left)} of {whole} rows"
    assert page.locator("#shown").get_attribute("aria-live") == "polite"


def test_a_link_to_a_row_marks_it_even_if_it_is_filtered_out(opened):
    page = opened()
    row = page.locator("#cells tbody tr").last
    page.locator("#filter").fill("no such cell")
    assert visible(page) == 0
    anchor = row.get_attribute("id")
    assert anchor.startswith("cell-")
    page.evaluate("anchor => { location.hash = anchor; }", anchor)
    row.wait_for(state="visible")
    colour = "cell => getComputedStyle(cell.cells[0]).backgroundColor"
    assert row.evaluate(colour) != page.locator("#cells tbody tr").first.evaluate(colour)


def test_everything_is_there_without_a_script(opened):
    plain, scripted = opened(java_script_enabled=False), opened()
    assert visible(plain) == visible(scripted) == len({record.cell.id for record in made()})
    assert not plain.locator("#filter").is_visible()
    assert plain.locator("button:visible").count() == 0
    for heading in plain.locator("h2").all():
        assert heading.is_visible()


def test_the_page_follows_the_dark_setting(opened):
    background = "() => getComputedStyle(document.body).backgroundColor"
    ink = "() => getComputedStyle(document.body).color"
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert contrast(light.evaluate(ink), light.evaluate(background)) >= 7
    assert contrast(dark.evaluate(ink), dark.evaluate(background)) >= 7
    assert luminance(light.evaluate(background)) > 0.8 > 0.1 > luminance(dark.evaluate(background))


def luminance(colour):
    """Relative luminance of a CSS ``rgb(...)``, as WCAG 2 defines it."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast ratio of two colours, as WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_page_prints_on_several_sheets(opened):
    sheets = opened().pdf()
    assert len(re.findall(rb"/Type\s*/Page\b", sheets)) > 1


def test_a_narrow_screen_scrolls_down_only(opened):
    page = opened(viewport={"width": 360, "height": 740})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_nothing_is_logged_and_nothing_is_asked_for_but_the_file(opened, report):
    page = opened()
    page.locator("#cells thead button").first.click()
    page.locator("#filter").fill("ppo")
    assert page.said == []
    assert page.asked == [report.as_uri()]


def test_a_copy_button_puts_the_command_on_the_clipboard(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.locator("section[aria-labelledby=command] summary").click()
    button = page.locator("section[aria-labelledby=command] button.copy").first
    button.click()
    page.get_by_role("button", name="copied").wait_for()
    command = button.get_attribute("data-copy")
    assert command.startswith("alignmeter ")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_markup_in_a_record_does_not_run(opened, tmp_path):
    path = tmp_path / "hostile.html"
    write_report(Loaded(records=hostile(), refused=[HACK]), path, title=HACK)
    page = opened(path)
    page.locator("#cells thead button").first.click()
    page.locator("#filter").fill("script")
    assert visible(page) > 0
    assert page.evaluate("window.__hacked") is None
    assert page.locator("img").count() == 0
    assert page.asked == [path.as_uri()]
    assert page.said == []


def test_no_script_runs_but_the_pages_own(opened):
    """The page's policy holds even for markup that has found its way in."""
    page = opened()
    add = "text => { const s = document.createElement('script'); s.text = text; "
    page.evaluate(add + "document.body.append(s); }", "window.__hacked = 1")
    with page.expect_event("requestfailed") as refused:
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x.png>')")
    page.locator("#cells thead button").first.click()
    assert page.evaluate("window.__hacked") is None
    assert refused.value.failure == "csp"
    assert len(page.said) == 2
    assert all("Content Security Policy" in text for text in page.said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_no_serious_fault(opened, scheme):
    pytest.importorskip(
        "axe_playwright_python", reason="no axe-core; pip install axe-playwright-python"
    )
    page = opened(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert serious_faults(page) == []
