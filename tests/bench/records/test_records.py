"""Records, their folder, the delta and the terminal summary."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import make_record

from alignmeter.analysis.delta import PARTS, deltas
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, record_path, write_bytes, write_record
from alignmeter.records.record import OWNERS, decode_record, encode_record
from alignmeter.terminal import tables
from alignmeter.terminal.summary import summary_parts
from alignmeter.units import bytes_text, joules_text, seconds_text, span_text


def test_a_record_survives_its_file(tmp_path):
    record = make_record()
    path = write_record(tmp_path / "new" / "folder", record)
    assert path == record_path(tmp_path / "new" / "folder", record.cell.id, 0)
    assert load_folders([tmp_path]).records == [record]
    text = path.read_text()
    assert "NaN" not in text
    assert json.loads(text)["numerics"]["losses"] == [0.7, None]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@given(
    st.dictionaries(st.sampled_from(OWNERS), st.integers(0, 10**12)),
    st.text(max_size=50),
    st.integers(0, 99),
)
def test_any_record_survives_encoding(ledger, lane, replicate):
    lane = lane.encode(errors="ignore").decode() or "x"
    peak = sum(ledger.values())
    record = make_record(peak=peak, ledger=ledger, lane=lane, replicate=replicate)
    assert decode_record(encode_record(record), "x") == record


def changed(**fields):
    return json.dumps({**json.loads(encode_record(make_record())), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an alignmeter record"),
        (b"{", "not an alignmeter record"),
        (b"\xff", "not an alignmeter record"),
        (b"[]", "not an alignmeter record"),
        (b'{"benchmarks": []}', "schema_version is None; this version reads 1 and 2"),
        (changed(schema_version=3), "schema_version is 3; this version reads 1 and 2"),
        (changed(status="fine"), "$.status"),
        (changed(surprise=1), "surprise"),
        (changed(ledger={"activations_bytes": 1}), "the ledger sums to 1 bytes"),
        (changed(ledger={"my_bytes": 1000}), "unknown row 'my_bytes'"),
    ],
)
def test_a_bad_file_is_named_and_the_others_are_read(tmp_path, data, words):
    write_record(tmp_path, make_record())
    (tmp_path / "bad.json").write_bytes(data)
    loaded = load_folders([tmp_path])
    assert len(loaded.records) == 1
    assert len(loaded.refused) == 1
    assert words in loaded.refused[0]
    assert "bad.json" in loaded.refused[0]


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoder(data):
    with pytest.raises(InputError):
        decode_record(data, "x")


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=3))
def test_a_damaged_record_is_read_or_refused(position, junk):
    data = encode_record(make_record())
    position %= len(data)
    damaged = data[:position] + junk + data[position + len(junk) :]
    try:
        decode_record(damaged, "file.json")
    except InputError as error:
        assert "file.json" in str(error)  # noqa: PT017 - either outcome is right


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_folders([tmp_path / "none"])


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "x.json", b"1")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_delta_by_hand():
    """DPO 600, PPO 1000 bytes: 400 more, DPO saves 40 %.

    Weights 100 -> 300 (+200), optimizer 200 -> 250 (+50), the rest 300 -> 450 (+150).
    """
    dpo = make_record(peak=600, ledger={"policy_weights": 100, "optimizer_state": 200})
    ppo = make_record(
        peak=1000, method="ppo",
        ledger={"policy_weights": 100, "value_weights": 200, "optimizer_state": 250},
    )  # fmt: skip
    (row,) = deltas([ppo, dpo])
    assert (row.bytes, row.percent) == (400, 40.0)
    assert row.parts == {
        "resident weights": 200, "trainable state": 50, "activations and rollout": 150,
    }  # fmt: skip


@given(*(st.dictionaries(st.sampled_from(OWNERS), st.integers(0, 10**9), min_size=1) for _ in "ab"))
def test_the_parts_always_sum_to_the_delta(a, b):
    dpo = make_record(peak=sum(a.values()), ledger=a)
    ppo = make_record(peak=sum(b.values()), ledger=b, method="ppo")
    for row in deltas([dpo, ppo]):
        assert sum(row.parts.values()) == row.bytes


def test_the_parts_cover_every_owner_once():
    assert sorted(owner for owners in PARTS.values() for owner in owners) == sorted(OWNERS)


def test_only_like_cells_are_paired():
    dpo = make_record(peak=500)
    others = [
        make_record(peak=900, method="ppo", peft="lora"),
        make_record(peak=900, method="ppo", seq_len=128),
        make_record(peak=900, method="ppo", checkpointing="on"),
    ]
    assert deltas([dpo, *others]) == []
    both = [make_record(peak=900, method="ppo", ppo_backward=b) for b in ("joint", "sequential")]
    assert {row.versus.ppo_backward for row in deltas([dpo, *both])} == {"joint", "sequential"}


def test_the_largest_replicate_counts_and_failures_do_not():
    dpo = [make_record(peak=p, replicate=i) for i, p in enumerate((500, 520))]
    ppo = [make_record(peak=1000, method="ppo"), make_record(peak=9, method="ppo", status="oom")]
    (row,) = deltas([*dpo, *ppo])
    assert (row.peak_bytes, row.versus_peak_bytes, row.replicates) == (520, 1000, 1)


def test_summary_fits_80_columns_and_never_calls_cpu_bytes_vram():
    records = [
        make_record(peak=2**30, method=m, ppo_backward=b, architecture=a)
        for a in ("llama", "mamba")
        for m, b in (("dpo", "sequential"), ("ppo", "sequential"), ("ppo", "joint"))
    ]
    lines = tables.lines(summary_parts(records))
    assert max(map(len, lines)) <= 80
    assert sum("separate, joint" in line for line in lines) == 2
    assert [line for line in lines if "VRAM" in line] == [
        "CPU figures are bytes of tensors. They say nothing about VRAM."
    ]
    assert "no DPO-vs-PPO delta" in " ".join(tables.lines(summary_parts(records[:1])))


def test_summary_says_what_isolation_costs_and_what_repeats():
    def replicate(number, peak, start):
        record = make_record(peak=peak, replicate=number)
        timing = msgspec.structs.replace(record.timing, worker_start_s=start)
        return msgspec.structs.replace(record, timing=timing)

    records = [replicate(0, 9, 8.0), replicate(1, 9, 0.02)]
    text = " ".join(" ".join(tables.lines(summary_parts(records))).split())
    assert "took 4.01 s to start (median of 2; the slowest 8 s" in text
    assert "same losses and same bytes in 1 of 1 cell" in text
    text = " ".join(tables.lines(summary_parts([replicate(0, 9, 8.0), replicate(1, 8, 0.02)])))
    assert "in 0 of 1 cell" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 KiB"),
        (1536, "1.5 KiB"),
        (2**20, "1 MiB"),
        (-(3 * 2**29), "-1.5 GiB"),
        (1010 * 2**10, "1010 KiB"),
        (1010 * 2**20, "1010 MiB"),
        (1500 * 2**30, "1500 GiB"),
    ],
)
def test_bytes_are_binary(count, text):
    assert bytes_text(count) == text


def test_seconds():
    assert (seconds_text(0.2314), seconds_text(1.25)) == ("231 ms", "1.25 s")
    assert (seconds_text(0.99999), seconds_text(1234.5)) == ("1 s", "1234 s")
    assert span_text(seconds_text(0.2), seconds_text(0.25)) == "200 to 250 ms"
    assert span_text(seconds_text(0.9), seconds_text(1.25)) == "900 ms to 1.25 s"


def test_joules():
    shown = [joules_text(joules) for joules in (0, 0.0125, 1.5, 999.4, 3300, 2.5e6)]
    assert shown == ["0 J", "12.5 mJ", "1.5 J", "999 J", "3.3 kJ", "2500 kJ"]
