"""Building C++ kernels: cached, and loud where it fails."""

import ctypes
import re
import shutil

import pytest
import torch

from alignmeter_kernels.cpp import CppLibrary, address

GOOD = 'extern "C" int answer() { return 42; }\n'


needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None, reason="no C++ compiler; install one, e.g. g++"
)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "thing.cpp"
    path.write_text(GOOD)
    return path


@needs_compiler
def test_it_is_built_once_and_kept(source, tmp_path, monkeypatch):
    assert CppLibrary(source).library.answer() == 42
    (built,) = (tmp_path / "cache" / "alignmeter" / "kernels").iterdir()
    stamp = built.stat().st_mtime_ns
    assert CppLibrary(source).library.answer() == 42
    assert built.stat().st_mtime_ns == stamp
    source.write_text(GOOD.replace("42", "43"))
    assert CppLibrary(source).library.answer() == 43


@needs_compiler
@pytest.mark.parametrize(
    ("change", "words"),
    [("this is no C++", "failed: .*error"), (None, "no C\\+\\+ compiler")],
)
def test_a_build_that_fails_is_said_aloud(source, monkeypatch, change, words):
    if change is None:
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        source.write_text(change)
    library = CppLibrary(source)
    with pytest.warns(RuntimeWarning, match="the slower torch path runs"):
        assert library.library is None
    assert re.search(words, library.missing, re.DOTALL)


def test_only_what_c_can_read_is_handed_over():
    assert address(None).value is None
    assert isinstance(address(torch.zeros(2)), ctypes.c_void_p)
    with pytest.raises(ValueError, match=r"want contiguous fp32, got torch\.float64"):
        address(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="strides"):
        address(torch.zeros(2, 3).T)
