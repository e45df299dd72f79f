"""Two ranks for the tests of this folder."""

import pytest
from rank_pair import Pair


@pytest.fixture(scope="session")
def pair(launcher, tmp_path_factory):
    with Pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair
