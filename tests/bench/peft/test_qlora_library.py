"""Which bitsandbytes QLoRA takes."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from alignmeter.peft import qlora
from alignmeter.session.resolve import resolve_cell

ROOT = Path(__file__).parents[3]
ASKED = {"accelerator": "cpu", "peft": "qlora", "seq_len": 16, "kernels": "stock"}


@pytest.fixture
def installed(monkeypatch):
    """A function that sets which bitsandbytes is installed; ``None``: no such package."""

    def install(number):
        def version(name):
            if number is None:
                raise PackageNotFoundError(name)
            return number

        monkeypatch.setattr(qlora, "version", version)

    return install


@pytest.mark.parametrize("older", ["0.49.1", "0.48.0", "0.9.9", "0.49.2.dev0"])
def test_one_without_blocks_of_64_on_cdna_is_named_with_what_is_wanted(older, installed):
    """A cell is unsupported with that sentence, on every device."""
    installed(older)
    found = resolve_cell(ASKED).unsupported
    assert found.code == "library_missing"
    assert found.text == (
        f"bitsandbytes {older} is installed, and 0.49.2 or later is wanted: earlier ones have no "
        "NF4 blocks of 64 on CDNA devices; pip install -U 'alignmeter[qlora]'"
    )


@pytest.mark.parametrize("fit", ["0.49.2", "0.50.0", "0.50.2", "0.100.0", "1.0.0"])
def test_one_with_them_is_taken(fit, installed):
    installed(fit)
    assert resolve_cell(ASKED).unsupported is None


def test_none_is_named_too(installed):
    installed(None)
    assert resolve_cell(ASKED).unsupported.text.startswith("bitsandbytes is not installed; pip")


def test_the_package_asks_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["qlora"] == [f"bitsandbytes>={qlora._LEAST}"]
