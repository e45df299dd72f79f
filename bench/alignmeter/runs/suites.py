"""The suites that come with the package: files for pytest-benchmark, a table each."""

__all__ = ["DEFAULT", "suites"]

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "suites", _PACKAGE.parents[1] / "suites")
"""In a wheel and in a checkout."""
DEFAULT = "alignment"


def suites() -> dict[str, Path]:
    """Name -> file: ``kernels`` is ``bench_kernels.py``."""
    found = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {path.stem.removeprefix("bench_"): path for path in sorted(found.glob("bench_*.py"))}
