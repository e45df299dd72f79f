"""The made sets are what they say: two vendors that cross over, fourteen nights with a change."""

import random
from statistics import median

import pytest
from made_nights import NIGHTS, SLOWER, SLOWER_NIGHT, night_records, write_nights
from made_vendors import INVALID, OUT_OF_MEMORY, UNSUPPORTED, has, vendor_records

from alignmeter.records.folder import load_folders

FEW = (SLOWER, ("dpo", "llama", "full"))


@pytest.fixture(scope="module")
def vendors():
    """All cells, one replicate each."""
    return vendor_records(random.Random(1), replicates=1)


def seconds(records, **axes):
    (record,) = (r for r in records if has(r.cell.axes(), axes) and r.status == "ok")
    return record.timing.median_s


def test_two_vendors_cross_over(vendors):
    same = {"architecture": "llama", "peft": "full", "seq_len": 1024, "size": "1.4b",
            "ppo_topology": "separate"}  # fmt: skip
    ratios = {
        method: seconds(vendors, accelerator="rocm", method=method, **same)
        / seconds(vendors, accelerator="cuda", method=method, **same)
        for method in ("dpo", "ppo")
    }
    assert ratios["dpo"] < 0.97
    assert ratios["ppo"] > 1.03


def test_what_is_missing_or_invalid_is_so_for_a_reason(vendors):
    found = {
        (record.status, record.cell.accelerator): record.cell.axes()
        for record in vendors
        if record.status != "ok"
    }
    assert has(found["unsupported", "rocm"], UNSUPPORTED)
    assert has(found["oom", "cuda"], OUT_OF_MEMORY)
    assert len(found) == 2
    (bad,) = (record for record in vendors if not record.validity["time"].ok
              and record.status == "ok")  # fmt: skip
    assert has(bad.cell.axes(), INVALID)


def test_one_cell_is_slower_from_its_night_on_and_the_same_seed_gives_the_same_files(tmp_path):
    loaded = load_folders([write_nights(tmp_path / "a", cells=FEW, replicates=1)])
    assert not loaded.refused
    for wanted in FEW:
        mine = [r for r in loaded.records if (r.cell.method, r.cell.architecture,
                                              r.cell.peft) == wanted]  # fmt: skip
        times = [record.timing.median_s for record in mine]
        assert len(times) == NIGHTS
        turned = median(times[SLOWER_NIGHT - 1 :]) / median(times[: SLOWER_NIGHT - 1])
        assert (turned > 1.05) == (wanted == SLOWER)
    write_nights(tmp_path / "b", cells=FEW, replicates=1)
    files = {
        path.relative_to(tmp_path / "a"): path.read_bytes()
        for path in (tmp_path / "a").rglob("*.*")
    }
    assert files == {path: (tmp_path / "b" / path).read_bytes() for path in files}


def test_the_last_night_has_a_cell_less():
    assert len(night_records(NIGHTS, random.Random(1), replicates=1)) == 15
    assert len(night_records(NIGHTS - 1, random.Random(1), replicates=1)) == 16
