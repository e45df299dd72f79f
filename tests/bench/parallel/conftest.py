"""Two ranks for the tests of this folder."""

import pytest
from deep_config import write_deep_config
from rank_pair import Pair

from alignmeter.architectures.checkpoint import configs_alone


@pytest.fixture(scope="session")
def pair(launcher, tmp_path_factory):
    with Pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def config_of_16_layers(tmp_path):
    """A small Llama of 16 layers, of which there is a config only."""
    path = write_deep_config(tmp_path)
    with configs_alone():
        yield path
