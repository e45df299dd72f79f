"""Words for people: records are untrusted, so what they say is made plain here."""

__all__ = ["counted", "plain"]

_LONGEST = 400
"""Characters of one text: enough for a reason, too few to bury a page under."""


def plain(text: str) -> str:
    """Printable, on one line and of bounded length: no control, escape or direction characters."""
    text = "".join(c if c.isprintable() else " " for c in text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def counted(count: int, what: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
