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
