"""Combinations of parameters: a few run every time, the others are marked ``full``."""

import pytest
from allpairspy import AllPairs


def crossed(**axes):
    """The arguments of `pytest.mark.parametrize`: rows that have every pair of values of two axes,
    of which those run every time that are needed for every single value.
    """
    rows = [tuple(row) for row in AllPairs([list(values) for values in axes.values()])]
    missing = [list(values) for values in axes.values()]
    params = []
    for row in rows:
        news = [values for value, values in zip(row, missing, strict=True) if value in values]
        for value, values in zip(row, missing, strict=True):
            if value in values:
                values.remove(value)
        params.append(pytest.param(*row, marks=() if news else pytest.mark.full))
    return tuple(axes), params


def thinned(values, *, every):
    """One of ``every`` values each time, the others where all tests run."""
    return [
        pytest.param(value, marks=pytest.mark.full if n % every else ())
        for n, value in enumerate(values)
    ]
