"""Units, converted in one place. GiB is 2**30 bytes, MiB is 2**20; GB is not used."""

__all__ = ["GIB", "KIB", "MIB", "bytes_text", "seconds_text"]

KIB = 2**10
MIB = 2**20
GIB = 2**30


def bytes_text(count: float) -> str:
    """A byte count with three significant digits in KiB, MiB or GiB: ``12.3 MiB``, ``32 B``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if abs(count) >= unit:
            return (
                f"{count / unit:.3g} {name}"
                if abs(count) < 999.5 * unit
                else f"{count / unit:.0f} {name}"
            )
    return f"{count:.0f} B" if 0 < abs(count) < KIB else f"{count / KIB:.3g} KiB"


def seconds_text(seconds: float) -> str:
    """A duration in ms below one second, in s above: ``231 ms``, ``1.25 s``, ``1510 s``."""
    if abs(seconds) < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if abs(seconds) < 999.5 else f"{seconds:.0f} s"
