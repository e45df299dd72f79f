"""Every document with a version: only its own is read, and not what merely equals it."""

import json

import msgspec
import pytest
from made_portability import make_table
from made_records import make_record

from alignmeter import __version__
from alignmeter.analysis.prices import read_prices
from alignmeter.cells.matrix import read_matrix
from alignmeter.errors import InputError
from alignmeter.records.capacity import SCHEMA_VERSION as CAPACITY
from alignmeter.records.capacity import Capacity, decode_capacity, encode_capacity
from alignmeter.records.portability import decode_portability, encode_portability
from alignmeter.records.prediction import decode_predictions, encode_predictions
from alignmeter.records.record import decode_record, encode_record
from alignmeter.records.reference import References, decode_references

JSON = {
    "record": (encode_record(make_record()), decode_record),
    "capacity": (
        encode_capacity(Capacity(schema_version=CAPACITY, alignmeter=__version__, points=[])),
        decode_capacity,
    ),
    "kernels": (encode_portability(make_table()), decode_portability),
    "plan": (encode_predictions([]), decode_predictions),
    "references": (
        msgspec.json.encode(References(schema_version=1, references={})),
        decode_references,
    ),
}
WRONG_JSON = [
    "true",
    "1.0",
    "2.0",
    '"1"',
    '"2"',
    "null",
    None,
    "99",
    "-1",
    "[1]",
    '{"a": 1}',
    "1e0",
]
TOML = {
    "matrix": ("", lambda path: read_matrix(str(path))),
    "prices": ('currency = "EUR"', read_prices),
}
WRONG_TOML = ["true", "1.0", '"1"', None, "2", "-1", "[1]", "{}", "1979-05-27"]


@pytest.mark.parametrize("version", WRONG_JSON)
@pytest.mark.parametrize("name", JSON)
def test_a_json_document_of_another_version_is_refused(name, version):
    data, decode = JSON[name]
    decode(data, "here")
    fields = {k: json.dumps(v) for k, v in json.loads(data).items() if k != "schema_version"}
    if version is not None:
        fields["schema_version"] = version
    changed = "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"
    with pytest.raises(InputError) as raised:
        decode(changed.encode(), "here")
    found = None if version is None else json.loads(version)
    assert str(raised.value).startswith(f"here: schema_version is {found!r}; this version reads 1")


@pytest.mark.parametrize("version", WRONG_TOML)
@pytest.mark.parametrize("name", TOML)
def test_a_toml_document_of_another_version_is_refused(name, version, tmp_path):
    path = tmp_path / "file.toml"
    rest, read = TOML[name]
    path.write_text(f"schema = 1\n{rest}\n")
    read(path)
    path.write_text(rest + "\n" if version is None else f"schema = {version}\n{rest}\n")
    with pytest.raises(InputError) as raised:
        read(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: schema is {'missing' if version is None else ''}")
    assert said.endswith("; this version reads schema = 1")


def test_a_huge_version_is_cut():
    data, decode = JSON["record"]
    changed = json.dumps({**json.loads(data), "schema_version": "x" * 10_000})
    with pytest.raises(InputError) as raised:
        decode(changed.encode(), "here")
    assert len(str(raised.value)) < 150
