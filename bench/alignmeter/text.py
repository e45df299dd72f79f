"""Words for people: plain, counted, shortened, listed, wrapped."""

__all__ = ["counted", "encodable", "listed", "plain", "sentence", "shortened", "shown_path",
           "without_frames", "wrapped"]  # fmt: skip

import textwrap
from collections.abc import Sequence

_LONGEST = 400
"""Characters of one text: enough for a reason, too few to bury a page under."""
_SENTENCE = 300
"""Characters of a sentence that ends a command: four lines of a terminal."""
_WORDS = (120, 60, 30)
"""Characters of its longest words, tried in turns where it has more."""
_GLUE = "\N{NO-BREAK SPACE}"


def plain(text: str) -> str:
    """Printable, on one line and of bounded length: no control, escape or direction characters.

    Records are untrusted, so what they say is made plain before anybody reads it.
    """
    return shortened(_printable(text[: _LONGEST + 1]), _LONGEST)


def shown_path(path: str, longest: int = 120) -> str:
    """A path for a sentence: printable, and of a long one the end, which tells files apart.

    A sentence has 300 characters; what 120 of these leave is for what is wrong.
    """
    text = _printable(path)
    return text if len(text) <= longest else f"...{text[3 - longest :]}"


def sentence(text: str) -> str:
    """What a command says of an error: one line of at most 300 characters, all of them to be seen.

    It may quote a name that somebody gave, of any length and any characters: these come out as
    Python writes them, and of long words the middle is left out. What would be right stays.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text.strip())
    for most in _WORDS:
        if len(shown) > _SENTENCE:
            shown = " ".join(_middle_out(word, most) for word in shown.split(" "))
    return shortened(shown, _SENTENCE)


def _middle_out(word: str, most: int) -> str:
    half = (most - 3) // 2
    return word if len(word) <= most else f"{word[:half]}...{word[-half:]}"


def encodable(text: str) -> str:
    """The same, bytes that are no UTF-8 written out: Python has them as lone surrogates, which no
    JSON can hold.
    """
    return text.encode(errors="backslashreplace").decode()


def without_frames(message: str) -> str:
    """What torch says of an error, without the frames of C++ that it puts behind."""
    return message.partition("\nException raised from")[0]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def counted(count: int, what: str, several: str | None = None) -> str:
    """``1 cell``, ``2 cells``; ``several``: a plural that is not made by an s, ``2 tries``."""
    return f"{count} {what if count == 1 else several or f'{what}s'}"


def shortened(text: str, longest: int) -> str:
    """At most ``longest`` characters (at least 4), three dots for what was cut off the end."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def listed(texts: Sequence[str], most: int, what: str | None = None) -> list[str]:
    """The first ``most`` texts, and ``and 3 more`` for the others; ``what`` they are, in singular.

    With ``what`` as ``line``: ``and 1 more line``, ``and 3 more lines``.
    """
    left = len(texts) - most
    if left <= 0:
        return [*texts]
    more = f"{left} more" if what is None else counted(left, f"more {what}")
    return [*texts[:most], f"and {more}"]


def wrapped(text: str, columns: int, head: str = "", hang: int = 0) -> list[str]:
    """Lines of at most ``columns`` characters; none for an empty text.

    The first line starts with ``head``, the others below its end, ``hang`` columns further in.
    Nothing is broken at a hyphen: ids and names stay whole where they fit. A no-break space holds
    its two words together (``5\N{NO-BREAK SPACE}%``) and comes out as a space.
    """
    lines = textwrap.wrap(
        text,
        columns,
        initial_indent=head,
        subsequent_indent=" " * (len(head) + hang),
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]
