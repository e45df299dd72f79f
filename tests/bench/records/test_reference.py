"""Where references, plans and built kernels are kept on this machine."""

from pathlib import Path

import pytest

from alignmeter.planner.store import plans_folder
from alignmeter.records.reference import cached_references
from alignmeter_kernels import cpp


def folders():
    return cached_references(), plans_folder(), cpp._cache()


def test_the_cache_folder_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "alignmeter"
    assert folders() == (place / "references", place / "plans", place / "kernels")


@pytest.mark.parametrize("home", [None, ""])
def test_without_it_the_cache_is_in_the_home(monkeypatch, home):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", home)
    place = Path.home() / ".cache" / "alignmeter"
    assert folders() == (place / "references", place / "plans", place / "kernels")
