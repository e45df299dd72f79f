"""All combinations of some parameters, of which a covering few run every time.

Those few have every pair of values of two parameters; the others are marked ``full``.
"""

from itertools import product

import pytest
from allpairspy import AllPairs


def crossed(**axes):
    """The arguments of `pytest.mark.parametrize`. A value that is a tuple stands for one value."""
    every = [list(values) for values in axes.values()]
    few = {tuple(row) for row in AllPairs(every)}
    return tuple(axes), [
        pytest.param(*row, marks=() if row in few else pytest.mark.full) for row in product(*every)
    ]
