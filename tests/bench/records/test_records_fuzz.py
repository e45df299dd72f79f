"""Records that are cut off, damaged, foreign, huge or of the future: read whole or refused by name.

``pytest -m exhaustive tests/bench/records/test_records_fuzz.py`` makes 2500 of them, the default
run 100.
"""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.record import SCHEMA_VERSION, decode_record, encode_record
from alignmeter.terminal import tables
from alignmeter.terminal.summary import summary_parts

GOOD = make_record(peak=2**30)
DATA = encode_record(GOOD)
KEYS = list(json.loads(DATA))

foreign = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


def with_field(key, value):
    return json.dumps({**json.loads(DATA), key: value}).encode()


truncated = st.integers(0, len(DATA) - 2).map(lambda end: DATA[:end])
corrupt = st.builds(
    lambda at, junk: DATA[:at] + junk + DATA[at + len(junk) :],
    st.integers(0, len(DATA) - 1),
    st.binary(min_size=1, max_size=8),
)
of_others = (
    st.binary(max_size=200)
    | foreign.map(lambda value: json.dumps(value).encode())
    | st.builds(with_field, st.sampled_from(KEYS) | st.text(max_size=9), foreign)
)
huge = st.sampled_from(KEYS).flatmap(
    lambda key: st.sampled_from(
        [10**400, "x" * 200_000, [[]] * 50_000, {str(n): 0 for n in range(9_999)}]
    ).map(lambda value: with_field(key, value))
) | st.integers(1, 60_000).map(lambda depth: b"[" * depth)
future = st.builds(
    lambda version, more: json.dumps(
        {**json.loads(DATA), **more, "schema_version": version}
    ).encode(),
    st.integers(SCHEMA_VERSION + 1, 2**70),
    st.dictionaries(st.text(max_size=9), foreign, max_size=3),
)


def assert_read_or_refused(data):
    """Beside a good record, in a folder: that one is read, and this one read whole or named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_record(folder, GOOD)
        (folder / "made.json").write_bytes(data)
        loaded = load_folders([folder])
    assert GOOD.cell.id in {record.cell.id for record in loaded.records}
    assert len(loaded.records) + len(loaded.refused) == 2 - (data == DATA)
    for sentence in loaded.refused:
        assert sentence.startswith(f"{folder / 'made.json'}: ")
        assert sentence.isprintable()
        assert len(sentence) <= 503
    for record in loaded.records:
        assert decode_record(encode_record(record), "again") == record
    assert tables.lines(summary_parts(loaded.records))


KINDS = [
    pytest.param(kind, id=name)
    for name, kind in (
        ("truncated", truncated), ("corrupt", corrupt), ("foreign", of_others), ("huge", huge),
        ("future", future),
    )
]  # fmt: skip


def fuzz(kind, count):
    made = []

    @settings(max_examples=count, database=None)
    @given(kind)
    def check(data):
        made.append(len(data))
        assert_read_or_refused(data)

    check()
    return len(made)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_record_is_read_whole_or_refused(kind):
    fuzz(kind, 20)


@pytest.mark.exhaustive
def test_thousands_of_bad_records(capsys):
    counts = {param.id: fuzz(param.values[0], 500) for param in KINDS}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    with capsys.disabled():
        print(f"\n{sum(counts.values())} bad records ({said}): 0 crashes")  # noqa: T201
    assert sum(counts.values()) >= 2000


@given(truncated)
def test_a_record_that_is_cut_off_is_never_read(data):
    with pytest.raises(InputError, match=r"^here: "):
        decode_record(data, "here")


@given(future)
def test_a_record_of_the_future_says_its_version_or_that_it_is_none(data):
    with pytest.raises(InputError, match=r"^here: (schema_version is \d+; this|not an alignmeter)"):
        decode_record(data, "here")
