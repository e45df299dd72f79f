"""How soon a page is there: ``python tests/reports/made_paint.py PAGE`` prints paint, sort, filter.

In Debian's Chromium, each time in a context of its own; a sort counts until the rows are laid out.
"""

import shutil
import statistics
import sys
from pathlib import Path

TIMES = 7
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SORT = """() => {
    const button = document.querySelectorAll("#cells thead button")[5];
    const start = performance.now();
    button.click();
    document.body.offsetHeight;
    return performance.now() - start;
}"""
FILTER = """() => {
    const field = document.getElementById("filter");
    field.value = "ppo lora";
    const start = performance.now();
    field.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    return performance.now() - start;
}"""


def figures(page):
    """Name -> ms of each of `TIMES` visits."""
    from playwright.sync_api import sync_playwright

    found = {"first paint": [], "sort": [], "filter": []}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for _ in range(TIMES):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            tab.wait_for_function("performance.getEntriesByType('paint').length > 1")
            for name, script in (("first paint", PAINT), ("sort", SORT), ("filter", FILTER)):
                found[name].append(tab.evaluate(script))
            context.close()
        browser.close()
    return found


def main(page):
    for name, times in figures(page).items():
        middle = statistics.median(times)
        print(f"{name}: {middle:.0f} ms, at most {max(times):.0f} ms of {TIMES}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
