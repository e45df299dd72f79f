"""Combinations of parameters: a few run every time, more in ``full``, the others are marked
``exhaustive``.
"""

import pytest
from allpairspy import AllPairs


def crossed(**axes):
    """The arguments of `pytest.mark.parametrize`: rows that have every pair of values of two axes,
    of which those are in ``full`` that are needed for every single value, and one of three of
    these runs every time.
    """
    rows = [tuple(row) for row in AllPairs([list(values) for values in axes.values()])]
    missing = [list(values) for values in axes.values()]
    params, covering = [], 0
    for row in rows:
        news = [values for value, values in zip(row, missing, strict=True) if value in values]
        for value, values in zip(row, missing, strict=True):
            if value in values:
                values.remove(value)
        params.append(pytest.param(*row, marks=_tier(covering, bool(news))))
        covering += bool(news)
    return tuple(axes), params


def _tier(covering, news):
    if not news:
        return pytest.mark.exhaustive
    return pytest.mark.full if covering % 3 else ()


def thinned(values, *, every):
    """One of ``every`` values each time, the others in ``full``."""
    return [
        pytest.param(value, marks=pytest.mark.full if n % every else ())
        for n, value in enumerate(values)
    ]
