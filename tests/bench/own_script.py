"""The page has one script, the package's own; what is left of it must have none."""

import re

from alignmeter_reports.script import script_text

_DATA = re.compile(r'<script type="application/json" id="explore-data">[^<>]*</script>')
"""No browser runs it, and it holds no markup."""


def without_own_script(page):
    """The page with its script taken out, which stands there once and as it was written, and its
    data.
    """
    script = f"<script>{script_text()}</script>\n"
    assert page.count(script) == 1
    left, found = _DATA.subn("", page.replace(script, ""))
    assert found <= 1
    return left
