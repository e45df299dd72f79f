"""What the explorer is given: every cell's figures, and no markup whatever a record holds."""

import json
import random

import pytest
from made_cells import make_cell_records
from made_nights import night_records
from made_steps import SAMPLES, write_run
from msgspec.structs import replace

from alignmeter.analysis.likeness import groups
from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import load_folders, timeline_path
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.sections.cost import cost_view
from alignmeter_reports.sections.explore import explore_view


def explored(records, *, prices=None, paths=None, history=None):
    """The data as a browser parses them."""
    found = groups(records)
    rows = cell_rows(found)
    by_anchor = {row.anchor: group for row, group in zip(rows, found, strict=True)}
    cost = cost_view(rows, found, prices)
    view = explore_view(rows, by_anchor, paths or {}, cost, history)
    assert view.cells == len(rows)
    assert not set("<>&") & set(view.data)
    return json.loads(view.data)


def axis(data, name):
    return next(one for one in data["axes"] if one["name"] == name)


def at(data, row, name):
    """The value of an axis in a row."""
    index = [one["name"] for one in data["axes"]].index(name)
    value = row["at"][index]
    return None if value is None else axis(data, name)["values"][value]


def test_a_row_has_the_figures_of_its_cell():
    records = make_cell_records([0.1, 0.2, 0.4], peak=5000, joules=3.0, peft="lora")
    (row,) = explored(records)["rows"]
    middle, low, high = row["figures"]["time"]
    assert middle == pytest.approx(0.2, rel=1e-3)  # the geometric mean
    assert low < 0.1 < 0.4 < high  # a 95 % interval of three that are so far apart
    assert row["figures"]["peak"] == [5000]
    assert row["figures"]["energy"] == [pytest.approx(3.0)]
    assert row["steps"] == [[0.1] * 3, [0.2] * 3, [0.4] * 3]
    assert sum(row["ledger"].values()) == 5000
    assert row["phases"] == {"forward": pytest.approx(0.1, rel=1e-3)}
    assert "--peft lora" in row["command"]


def test_an_axis_that_changes_nothing_in_a_cell_has_no_value_there():
    records = [
        *make_cell_records([0.1], method="ppo", ppo_topology="shared"),
        *make_cell_records([0.1], method="ppo", ppo_topology="separate"),
        *make_cell_records([0.1], method="dpo"),
    ]
    data = explored(records)
    found = {(at(data, row, "method"), at(data, row, "ppo_topology")) for row in data["rows"]}
    assert found == {("ppo", "shared"), ("ppo", "separate"), ("dpo", None)}


def test_values_stand_in_the_order_that_people_read():
    records = [
        record
        for length in (512, 64, 128)
        for peft in ("qlora", "full", "lora")
        for record in make_cell_records([0.1], seq_len=length, peft=peft)
    ]
    data = explored(records)
    assert axis(data, "seq_len")["values"] == ["64", "128", "512"]
    assert axis(data, "peft")["values"] == ["full", "lora", "qlora"]


def test_markup_and_endless_text_in_a_record_stay_text():
    hack = "</script><script>window.__hacked=1</script>"
    records = [
        replace(record, provenance=replace(record.provenance, device=hack, host="h" * 5000))
        for record in make_cell_records([0.1])
    ]
    data = explored(records)
    assert axis(data, "device")["values"] == [hack]
    assert len(data["places"][0]["host"]) < 300


def test_money_is_a_value_where_prices_are_given():
    records = make_cell_records([3.6], accelerator="cuda")
    names = [value["name"] for value in explored(records)["values"]]
    assert "cost" not in names
    prices = Prices(currency="EUR", per_hour={"H100-SXM": 2.0})
    data = explored(records, prices=prices)
    assert data["values"][-1]["unit"] == "EUR"
    # 2 EUR an hour, and 256 trained tokens in 3.6 s.
    assert data["rows"][0]["figures"]["cost"] == [
        pytest.approx(2 * 3.6 / 3600 / 256 * 1e6, rel=1e-3)
    ]


def test_a_timeline_is_thinned_and_a_broken_one_is_left_to_its_section(tmp_path):
    draw = random.Random(1)
    cells = (("dpo", "llama", "full"), ("sft", "llama", "full"))
    write_run(tmp_path, night_records(1, draw, cells=cells, replicates=1), draw)
    loaded = load_folders([tmp_path])
    broken = next(path for path in loaded.paths if path.name.startswith("sft"))
    timeline_path(broken).write_bytes(b"none")
    paths = loaded.path_of()
    rows = {row["name"].split()[0].lower(): row for row in
            explored(loaded.records, paths=paths)["rows"]}  # fmt: skip
    lines = rows["dpo"]["timeline"]
    assert rows["sft"]["timeline"] is None
    assert 10 < len(lines["t"]) == len(lines["power"]) == len(lines["memory"]) < SAMPLES
    assert lines["t"] == sorted(lines["t"])
    assert max(lines["power"]) > 500


def test_without_a_record_there_is_no_explorer():
    assert explore_view([], {}, {}, cost_view([], [], None)) is None
