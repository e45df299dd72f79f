"""A page in Debian's Chromium, with what it logged and asked for."""

import shutil
from importlib import resources

PATH = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

WIDTHS = (390, 768, 1024, 1440, 2560)
A4_LANDSCAPE_PX = 1047
"""297 mm less margins of 10 mm on both sides, at 96 pixels to the inch."""
LINES = 3
TALL_ROWS = """lines => {
    const rows = Array.from(document.querySelectorAll(".scroll tbody tr"));
    return rows.filter(function (row) {
        if (!row.checkVisibility() || !row.offsetHeight) return false;
        const style = getComputedStyle(row.cells[0]);
        const edges = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom) + 2;
        return row.offsetHeight - edges > (lines + 0.4) * parseFloat(style.lineHeight);
    }).map((row) => row.closest("section").getAttribute("aria-labelledby") + ": " + row.innerText);
}"""
OVERFLOWING = """() => Array.from(document.querySelectorAll(".scroll th, .scroll td"))
    .filter((cell) => cell.checkVisibility() && cell.scrollWidth > cell.clientWidth + 1)
    .map((cell) => cell.closest("section").getAttribute("aria-labelledby") + ": " + cell.innerText)
"""
CUT_TEXTS = """() => Array.from(document.querySelectorAll("figure svg text"))
    .filter(function (text) {
        const one = text.getBoundingClientRect();
        const all = text.ownerSVGElement.getBoundingClientRect();
        return one.width > 0 && (one.left < all.left - 1 || one.right > all.right + 1
            || one.top < all.top - 1 || one.bottom > all.bottom + 1);
    })
    .map((text) => text.textContent)
"""


def launched(started):
    """A browser of playwright's ``started``."""
    return started.chromium.launch(executable_path=PATH, args=ARGUMENTS)


def tab(browser, path, fragment="", **options):
    """A page in a context of its own: ``said`` are lines of its console, ``asked`` its requests."""
    page = browser.new_context(**options).new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri() + fragment)
    return page


def serious_faults(page, *parts):
    """What axe finds that is serious or critical, in the parts that selectors name or in all."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(axe)
    within = {"include": [[part] for part in parts]} if parts else "document"
    result = page.evaluate("within => axe.run(within === 'document' ? document : within)", within)
    assert "color-contrast" in {rule["id"] for rule in result["passes"]}
    return [
        f"{fault['id']} ({len(fault['nodes'])}): {fault['nodes'][0]['html'][:200]}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
