"""Python's search for cycles, kept from records: they have none, and are many."""

__all__ = ["keep", "unsearched"]

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def unsearched() -> Iterator[None]:
    """No search while what is made has no cycles: it was 3 of 8 s of reading 20 000 records."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def keep() -> None:
    """Leave all that is there now out of later searches: what a command needs to its end."""
    gc.freeze()
