"""Which references one installation has in common with another."""

from importlib import metadata

import pytest

from alignmeter.records import reference
from alignmeter.records.reference import reference_key

INSTALLED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "bitsandbytes": "0.50.2",
}


@pytest.fixture
def key(monkeypatch, make_cell):
    """A function of a PEFT mode and versions, ``None`` for a package that is absent."""

    def found(mode, /, *, packaged=False, **versions):
        given = {**INSTALLED, **versions}

        def version(package):
            if given[package] is None:
                raise metadata.PackageNotFoundError(package)
            return given[package]

        monkeypatch.setattr(reference.metadata, "version", version)
        reference._version.cache_clear()
        cell = make_cell(peft=mode)
        return reference_key(cell, {}, seed=0, layers=None, rounded=False, packaged=packaged)

    yield found
    monkeypatch.undo()
    reference._version.cache_clear()


SERVED = {
    "torch": ["2.11.0", "2.13.0+cpu", "2.11.0+cu130"],
    "transformers": ["5.17.0", "5.22.1"],
    "bitsandbytes": ["0.50.0"],
}


@pytest.mark.parametrize(
    ("package", "version"), [(name, version) for name, them in SERVED.items() for version in them]
)
def test_versions_that_were_tried_share_the_packaged_references(package, version, key):
    assert key("qlora", **{package: version}) == key("qlora", packaged=True)


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("torch", "2.10.0"), ("torch", "3.12.0"), ("transformers", "5.16.1"),
        ("transformers", "6.0.0.dev0"), ("peft", "1.21.0"), ("bitsandbytes", "0.51.0"),
        ("bitsandbytes", None), ("torch", "2.x"),
    ],
)  # fmt: skip
def test_others_have_their_own(package, version, key):
    assert key("qlora", **{package: version}) != key("qlora", packaged=True)
    assert key("qlora", **{package: version}) == key("qlora", **{package: version})


@pytest.mark.parametrize(
    ("peft", "package"), [("full", "peft"), ("full", "bitsandbytes"), ("lora", "bitsandbytes")]
)
@pytest.mark.parametrize("version", [None, "0.1.0"])
def test_a_library_that_decides_no_loss_makes_no_difference(peft, package, version, key):
    """A box without bitsandbytes has the references of all cells that do not use it."""
    assert key(peft, **{package: version}) == key(peft, packaged=True)
