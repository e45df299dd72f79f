"""Which records are replicates of each other, and which cells stand side by side: one rule."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cells import make_cell_records
from msgspec.structs import replace

from alignmeter.analysis.capacity import search_key
from alignmeter.analysis.claims import findings
from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.analysis.compare import compare
from alignmeter.analysis.compare.words import counts_text
from alignmeter.analysis.delta import deltas
from alignmeter.analysis.likeness import GAP_H, SPAN_H, current, groups
from alignmeter.analysis.pairings import goes_with, pairings
from alignmeter.analysis.scaling import crossings, ladders
from alignmeter.cells.axes import AXES
from alignmeter.records.folder import load_folders, write_record
from alignmeter.session.resolve import resolve_cell

GPU = {"accelerator": "cuda"}
NIGHT = datetime(2026, 3, 1, 2, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40


def placed(records, *, hours=0.0, minutes=1, **said):
    """The records, a minute after each other from ``hours`` after the first night on."""
    return [
        replace(
            record,
            provenance=replace(
                record.provenance,
                started=(NIGHT + timedelta(hours=hours, minutes=minutes * k)).isoformat(),
                **said,
            ),
        )
        for k, record in enumerate(records)
    ]


def made(times=(1.0, 1.01, 0.99), *, hours=0.0, said=None, **axes):
    return placed(make_cell_records(times, **{**GPU, **axes}), hours=hours, **(said or {}))


def sizes(records):
    return [len(group.records) for group in groups(records)]


def test_which_card_a_job_got_splits_no_replicates_and_parts_no_pair():
    """Fault 1: DPO on one GPU of a node and PPO on the other are one delta."""
    dpo = [
        placed([record], uuid=f"GPU-{k}", pci_bus_id=f"0000:0{k}:00.0", host=f"node-{k}",
               environment={"CUDA_VISIBLE_DEVICES": str(k)})[0]
        for k, record in enumerate(make_cell_records([1.0, 1.01, 0.99], peak=600, **GPU))
    ]  # fmt: skip
    ppo = made(method="ppo", peak=1000, said={"uuid": "GPU-7", "host": "node-7"})
    assert sizes(dpo) == [3]
    (row,) = deltas([*dpo, *ppo])
    assert (row.bytes, row.replicates) == (400, 3)


def test_a_delta_is_of_one_commit():
    """Fault 2: 600 (old commit) and 500 (new) beside 1000 (new) are 500 beside 1000, once."""
    records = [
        *made([1.0], peak=600, said={"commit": OLD}),
        *made([1.0], hours=24, peak=500, said={"commit": NEW}),
        *made([1.0], hours=24, method="ppo", peak=1000, said={"commit": NEW}),
    ]
    for order in itertools.permutations(records):
        (row,) = deltas(order)
        assert (row.peak_bytes, row.versus_peak_bytes, row.replicates) == (500, 1000, 1)
    only_old = [records[0], records[2]]
    assert deltas(only_old) == []


def test_of_two_nights_the_newer_counts_and_none_are_pooled():
    first = made(peak=600) + made(method="ppo", peak=1000)
    second = made(hours=24, peak=500) + made(hours=24, method="ppo", peak=1200)
    assert sizes([*first, *second]) == [3, 3, 3, 3]
    (row,) = deltas([*first, *second])
    assert (row.peak_bytes, row.versus_peak_bytes, row.replicates) == (500, 1200, 3)


def test_a_comparison_takes_the_newest_of_each_side_and_says_so():
    """BASE holds two nights at 1 s and then 2 s: 2 s beside 2 s is no change."""
    base = made() + made([2.0, 2.01, 1.99], hours=24)
    found = compare(base, made([2.0, 2.01, 1.99], hours=48))
    (row,) = [row for row in found.rows if row.metric == "time"]
    assert (row.verdict, row.base.replicates, found.older) == ("equal", 3, 1)
    assert any("1 earlier measurement of these cells left out" in t for t in counts_text(found))


def test_intervals_and_claims_are_over_one_night():
    """Of a night at 1 s and one at 2 s an interval over both would hold everything."""
    records = [
        record
        for night, seconds in enumerate((1.0, 2.0))
        for method, factor in (("dpo", 1.0), ("ppo", 1.5))
        for record in made(
            [seconds * factor * (1 + k / 1000) for k in range(3)], hours=24 * night, method=method
        )
    ]
    (found,) = [f for f in findings(records) if f.claim.name == "dpo-less-time"]
    (row,) = found.evidence
    assert (row.stance, row.figure.n) == ("apart", 3)  # a model of unknown size
    assert row.figure.value == pytest.approx(1 / 1.5)
    assert row.figure.high - row.figure.low < 0.02


def test_clocks_are_judged_over_the_whole_set_in_whatever_folders_it_lies(tmp_path):
    """Fault 3: one replicate whose clock is 25 % off, in one folder and in a folder per job."""
    records = [
        placed([record], clocks_mhz={"compute": mhz}, uuid=f"GPU-{k}")[0]
        for k, (record, mhz) in enumerate(
            zip(make_cell_records([1.0, 1.0, 1.3], **GPU), (1980, 1980, 1500), strict=True)
        )
    ]
    for record in records:
        write_record(tmp_path / "together", record)
        write_record(tmp_path / "apart" / str(record.replicate), record)
    spoiled = {
        name: [not r.validity["time"].ok for r in with_clock_drift(load_folders([folder]).records)]
        for name, folder in (("together", tmp_path / "together"), ("apart", tmp_path / "apart"))
    }
    assert spoiled == {"together": [False, False, True], "apart": [False, False, True]}
    (row,) = [r for r in compare(records, records).rows if r.metric == "time"]
    assert (row.verdict, row.base) == ("invalid", None) or "clock_drift" in row.reason


def ladder(lane, **axes):
    return [
        record
        for length in (64, 128, 256)
        for record in made([length / 1000] * 3, seq_len=length, lane=lane, **axes)
    ]


def test_lanes_named_like_batches_stay_two_views():
    """Fault 5: b200 and b300 are lanes, not batches of 200 and 300."""
    found = ladders([*ladder("b200"), *ladder("b300"), *ladder("b300", architecture="mamba")])
    assert len(found) == 3
    assert len({one.settings for one in found}) == 2
    assert {row.base.settings for row in crossings(found)} == {found[-1].settings}


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((0, GAP_H), [2]),
        ((0, GAP_H + 0.1), [1, 1]),
        ((0, 5, 10), [3]),
        ((0, 5, 10, SPAN_H + 0.1), [3, 1]),
        ((0, 24, 48), [1, 1, 1]),
    ],
)
def test_a_session_ends_with_a_gap_or_when_it_is_long(hours, expected):
    records = [
        placed([record], hours=hour)[0]
        for hour, record in zip(hours, make_cell_records([1.0] * len(hours), **GPU), strict=True)
    ]
    assert sorted(sizes(records), reverse=True) == expected


def test_a_run_that_went_on_the_next_day_is_one_session():
    records = make_cell_records([1.0] * 3, **GPU)
    named = [placed([r], hours=30 * k, run="r1")[0] for k, r in enumerate(records)]
    assert sizes(named) == [3]
    other = placed(make_cell_records([1.0], **GPU), hours=30.1, run="r2")
    assert sorted(sizes([*named, *other])) == [1, 3]


def test_two_environments_and_two_chips_stand_side_by_side():
    known = {"partition": "SPX", "power_cap_w": 700.0, "form_factor": "SXM"}
    changes = [
        {}, {"environment_digest": "other"}, {"device": "another"}, {"partition": "CPX"},
        {"power_cap_w": 300.0}, {"form_factor": "PCIe"},
    ]  # fmt: skip
    records = [record for change in changes for record in made(said={**known, **change})]
    assert sizes(records) == [3] * 6
    assert len(current(groups(records))) == 6


def test_a_worker_that_told_nothing_belongs_to_its_cell():
    dead = placed(
        [replace(make_cell_records([1.0], **GPU)[0], status="crashed", replicate=3)],
        device="", environment_digest="", form_factor=None, commit=None,
    )  # fmt: skip
    for order in (made() + dead, dead + made()):
        (group,) = groups(order)
        assert len(group.records) == 4
        assert group.device == "NVIDIA H100 80GB HBM3"


@given(st.randoms(use_true_random=False))
def test_the_order_of_records_makes_no_difference(draw: random.Random):
    records = [
        *made(), *made(hours=24), *made(said={"device": "another"}), *made(peft="lora"),
        *made(method="ppo"), *made(hours=24, said={"commit": NEW}),
    ]  # fmt: skip

    def told(listed):
        return [
            (group.cell.id, group.place, [r.replicate for r in group.records])
            for group in groups(listed)
        ]

    shuffled = draw.sample(records, len(records))
    assert told(shuffled) == told(records)
    assert sum(map(len, (group.records for group in groups(shuffled)))) == len(records)
    assert deltas(shuffled) == deltas(records)


CHANGES = {"method": "ppo", "architecture": "mamba", "size": "130m", "peft": "lora",
           "accelerator": "cuda", "kernels": "stock", "seq_len": 128, "prompt_len": 16, "batch": 3,
           "precision": "bf16", "checkpointing": "on", "ref": "precomputed", "lane": "tuned",
           "data": "synthetic"}  # fmt: skip


@pytest.mark.parametrize(("axis", "value"), CHANGES.items())
def test_a_cell_without_an_axis_is_alike_at_every_value_of_it(axis, value):
    """And differs without any other axis, unless that one follows from this."""
    base = {"accelerator": "cpu"}
    one, two = resolve_cell(base).cell, resolve_cell({**base, axis: value}).cell
    assert one.without() != two.without()
    follow = {"peft": ("ref", "precision"), "accelerator": ("precision",)}.get(axis, ())
    assert one.without(axis, *follow) == two.without(axis, *follow)
    for other in AXES:
        if other != axis and (axis, other) != ("prompt_len", "seq_len"):
            assert one.without(other) != two.without(other)


def test_paths_are_out_and_digests_are_in(tmp_path):
    text = '{"prompt": "p", "chosen": "a", "rejected": "b"}'
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.jsonl"]
    for path, words in zip(paths, (text, text, text.replace("a", "x")), strict=True):
        path.write_text(words)
    one, two, three = (
        resolve_cell({"accelerator": "cpu", "data": str(path)}).cell for path in paths
    )
    assert one.without() == two.without() != three.without()
    assert one.without("data") == three.without("data")


def test_searches_of_equal_data_in_two_folders_are_one(tmp_path):
    """Fault 5: the key of a capacity search held the data's path."""
    text = '{"prompt": "p", "chosen": "a", "rejected": "b"}'
    cells = []
    for folder in ("one", "two"):
        path = tmp_path / folder / "rows.jsonl"
        path.parent.mkdir()
        path.write_text(text)
        cells.append(resolve_cell({"accelerator": "cpu", "data": str(path)}).cell)
    one, two = cells
    assert one.data != two.data
    assert search_key(one, "batch") == search_key(two, "batch") != search_key(two, "seq_len")


def test_a_prompt_of_half_the_sequence_stays_half():
    def cell(**axes):
        return resolve_cell({"accelerator": "cpu", **axes}).cell

    half = [cell(seq_len=length).without("seq_len") for length in (64, 128)]
    fixed = [cell(seq_len=n, prompt_len=n - 16).without("seq_len") for n in (64, 128)]
    assert half[0] == half[1] != fixed[0] == fixed[1]


def test_what_goes_with_a_method_or_a_mode():
    assert set(goes_with("method", "ppo", "dpo")) == {
        "ppo_backward", "ppo_epochs", "ppo_minibatches", "ppo_topology", "dpo_loss",
        "microbatches", "rollout", "rollout_weights",
    }  # fmt: skip
    assert goes_with("peft", "full", "lora") == (
        "ref", "precision", "lora_dropout", "lora_rank", "lora_targets",
    )  # fmt: skip
    assert goes_with("peft", "lora", "qlora") == (
        "ref", "precision", "embeddings", "quantiser",
    )  # fmt: skip
    assert goes_with("batch", "1", "2") == ()
    assert goes_with("method", "ppo", "a method of tomorrow")


def test_pairs_of_two_sessions_of_one_commit_say_so():
    records = made() + made(hours=24, method="ppo")
    (pair,) = pairings(groups(records), "method", "ppo", ("dpo",))
    assert pair.differing == "measured in two sessions"
    again = [*records, *made(hours=24.1)]
    (pair,) = pairings(groups(again), "method", "ppo", ("dpo",))
    assert pair.differing == ""


@pytest.mark.parametrize(
    ("old", "new", "settings"),
    [
        ({"driver": "570.1"}, {"driver": "575.5"}, ["driver 570.1", "driver 575.5"]),
        ({"versions": {"torch": "2.12", "peft": "1"}}, {"versions": {"torch": "2.13", "peft": "1"}},
         ["torch 2.12", "torch 2.13"]),
        ({"driver": "1", "runtime": "CUDA 12"}, {"driver": "2", "runtime": "CUDA 13"},
         ["driver 1, runtime CUDA 12", "driver 2, runtime CUDA 13"]),
        ({"environment": {"FLAG": "1"}}, {}, ["FLAG 1", "FLAG none"]),
        ({}, {}, ["environment old", "environment new"]),
    ],
)  # fmt: skip
def test_environments_of_a_device_are_told_apart_by_what_differs_in_them(old, new, settings):
    records = [
        *placed(make_cell_records([1.0], **GPU), environment_digest="old", **old),
        *placed(make_cell_records([1.0], **GPU), hours=24, environment_digest="new", **new),
    ]
    found = {group.place.environment: group for group in groups(records)}
    assert [found[digest].setting for digest in ("old", "new")] == settings
    assert all(group.where == f"{group.device} ({group.setting})" for group in found.values())


def test_where_the_bytes_of_replicates_differ_the_delta_has_bounds():
    """6 and 6.5 GiB versus 10 and 9.5: the largest of each, and the bounds over all pairs."""
    dpo = [record for peak in (600, 650) for record in make_cell_records([1.0], peak=peak)]
    ppo = [
        record for peak in (1000, 950) for record in make_cell_records(
            [1.0], peak=peak, method="ppo"
        )
    ]  # fmt: skip
    numbered = [replace(r, replicate=k % 2) for k, r in enumerate([*dpo, *ppo])]
    (row,) = deltas(numbered)
    assert (row.ratio.value, row.ratio.low, row.ratio.high) == (0.65, 0.6, 650 / 950)
    (same,) = deltas([numbered[0], numbered[2]])
    assert same.ratio.low == same.ratio.high == same.ratio.value == 0.6


def test_a_number_of_threads_is_told_once():
    """By which variable it was set is no second word; another version is."""

    def on(threads, version):
        return placed(
            make_cell_records([1.0]), environment_digest=f"{threads} {version}", threads=threads,
            environment={"OMP_NUM_THREADS": str(threads)}, versions={"torch": version},
        )  # fmt: skip

    assert [group.setting for group in groups([*on(1, "2.13"), *on(2, "2.13")])] == [
        "threads: 1", "threads: 2",
    ]  # fmt: skip
    assert [group.setting for group in groups([*on(1, "2.12"), *on(2, "2.13")])] == [
        "threads: 1, torch 2.12", "threads: 2, torch 2.13",
    ]  # fmt: skip
