"""Checkpoints that transformers itself has saved, each made once for a module."""

import pytest
from saved_checkpoints import save

from alignmeter.architectures.checkpoint import find_checkpoint


@pytest.fixture
def afresh():
    """Folders change under one name."""
    find_checkpoint.cache_clear()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that gives the folder of an untouched checkpoint; ``more`` as `save` takes it."""
    folders = {}

    def folder(kind="llama", **more):
        key = kind, *sorted(more.items())
        if key not in folders:
            folders[key] = save(tmp_path_factory.mktemp("checkpoints") / kind, kind, **more)
        return folders[key]

    return folder
