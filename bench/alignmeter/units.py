"""Units, converted in one place. GiB is 2**30 bytes, MiB is 2**20; GB is not used."""

__all__ = ["GIB", "KIB", "MIB", "bytes_text", "digits", "joules_text", "seconds_text", "span_text"]

KIB = 2**10
MIB = 2**20
GIB = 2**30
_WHOLE = 1000
"""From here on three significant digits would be an exponent, which nobody reads: 1234, not 1.23e3.
"""


def digits(value: float) -> str:
    """Three significant digits, of 1000 and more all of the whole ones: ``0.125``, ``12.3``."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if abs(float(text)) >= _WHOLE else text


def bytes_text(count: float) -> str:
    """A byte count with three significant digits in KiB, MiB or GiB: ``12.3 MiB``, ``32 B``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if abs(count) >= unit:
            return f"{digits(count / unit)} {name}"
    return f"{count:.0f} B" if 0 < abs(count) < KIB else f"{digits(count / KIB)} KiB"


def seconds_text(seconds: float) -> str:
    """A duration in ms below one second, in s above: ``231 ms``, ``1.25 s``."""
    below = abs(float(f"{seconds:.3g}")) < 1  # 0.9999 s is 1 s, not 1000 ms
    return f"{digits(seconds * 1e3)} ms" if below else f"{digits(seconds)} s"


def joules_text(joules: float) -> str:
    """An energy in mJ below one joule, in J, and in kJ from 1000 J on: ``3.3 kJ``, ``250 mJ``."""
    size = abs(joules)
    if size >= _WHOLE:
        return f"{digits(joules / 1e3)} kJ"
    return f"{digits(joules)} J" if size >= 1 or not size else f"{digits(joules * 1e3)} mJ"


def span_text(low: str, high: str) -> str:
    """``279 to 283 ms`` of two figures in one unit, ``995 ms to 1.01 s`` of two."""
    figure, _, unit = low.partition(" ")
    return f"{figure if unit == high.partition(' ')[2] else low} to {high}"
