"""The page has one script, the package's own; what is left of it must have none."""

from importlib import resources

_OWN = resources.files("alignmeter_reports").joinpath("page.js").read_text()


def without_own_script(page):
    """The page with its script taken out, which stands there once and as it was written."""
    script = f"<script>\n{_OWN.rstrip()}</script>\n"
    assert page.count(script) == 1
    return page.replace(script, "")
