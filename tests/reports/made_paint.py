"""How soon a page is there: ``python tests/reports/made_paint.py PAGE`` prints the waits.

First paint, a sort and a filter of the table of cells, a search over the page, and in the explorer
a redraw of every cell and the panel of one. In Debian's Chromium, each time in a context of its
own; each counts until the page is laid out again.
"""

import statistics
import sys
from pathlib import Path

from chromium import launched

TIMES = 7
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LAID_OUT = """() => {{
    {}
    const start = performance.now();
    {}
    document.body.offsetHeight;
    return performance.now() - start;
}}"""
SORT = LAID_OUT.format(
    "const button = document.querySelectorAll('#cells thead button')[5];", "button.click();"
)
FILTER = LAID_OUT.format(
    "const field = document.getElementById('filter'); field.value = 'ppo lora';",
    "field.dispatchEvent(new Event('input'));",
)
SEARCH = LAID_OUT.format(
    "const field = document.getElementById('search'); field.value = 'ppo lora';",
    "field.dispatchEvent(new Event('input'));",
)
ALL_CELLS = """() => {
    for (const { id } of document.querySelectorAll("[id^='choose-is-']")) {
        const field = document.getElementById(id);
        field.value = "*";
        field.dispatchEvent(new Event("change", { bubbles: true }));
    }
    return document.querySelectorAll("#pivot button").length;
}"""
REDRAW = LAID_OUT.format(
    "const field = document.getElementById('choose-value'); field.selectedIndex = 2;",
    "field.dispatchEvent(new Event('change', { bubbles: true }));",
)
PANEL = LAID_OUT.format(
    "const button = document.querySelector('#pivot button');", "button.click();"
)
SCRIPTS = {"sort": SORT, "filter": FILTER, "search": SEARCH, "redraw": REDRAW, "panel": PANEL}


def figures(page):
    """Name -> ms of each of `TIMES` visits."""
    from playwright.sync_api import sync_playwright

    found = {"first paint": [], **{name: [] for name in SCRIPTS}}
    with sync_playwright() as started:
        browser = launched(started)
        for _ in range(TIMES):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            tab.wait_for_function("performance.getEntriesByType('paint').length > 1")
            found["first paint"].append(tab.evaluate(PAINT))
            drawn = tab.evaluate(ALL_CELLS)
            for name, script in SCRIPTS.items():
                found[name].append(tab.evaluate(script))
            context.close()
        browser.close()
    print(f"explorer: {drawn} cells in one view")  # noqa: T201
    return found


def main(page):
    for name, times in figures(page).items():
        middle = statistics.median(times)
        print(f"{name}: {middle:.0f} ms, at most {max(times):.0f} ms of {TIMES}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
