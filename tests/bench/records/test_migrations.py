"""Records outlive new axes and new schemas: what once landed is read for ever."""

import json
from pathlib import Path

import msgspec
import pytest

from alignmeter.cells import axes as axis_rows
from alignmeter.cells import names
from alignmeter.cells.axes import AXES, Axis
from alignmeter.cells.cell import Cell, make_cell
from alignmeter.errors import InputError
from alignmeter.records.environment import environment_digest
from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.migrations import RECORD_STEPS
from alignmeter.records.record import SCHEMA_VERSION, decode_record, encode_record
from alignmeter.session.resolve import resolve_cell
from alignmeter_reports import write_report

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.json"))
"""One record of each shape that ever landed, by the commit that wrote it."""
SCHEMA_OF = {
    "088e58c": 1, "437ac27": 1, "350da0d": 1, "bc1e2b8": 1,
    "d299217": 2, "605cebb": 2, "ec73f2c": 2, "49f7d2e": 2,
}  # fmt: skip
SHAPE_OF_1 = Path(__file__).parent / "shapes" / "bc1e2b8.json"
SAMPLE = Path(__file__).parents[3] / "docs" / "sample"
OMITTED = {
    "method": None, "architecture": None, "size": None, "model": None, "peft": None,
    "accelerator": None, "kernels": "custom", "seq_len": 64, "prompt_len": None, "batch": 2,
    "precision": None, "checkpointing": "off", "optimizer": "adamw", "lora_rank": 16,
    "quantiser": "nf4-double-64", "ref": None, "ppo_topology": "separate",
    "ppo_backward": "sequential", "ppo_epochs": 1, "ppo_minibatches": 1, "lane": "out-of-box",
    "data": None,
}  # fmt: skip
"""What ids leave out, as it was when schema 2 came. Never changed; only added to."""


def old(path):
    return decode_record(path.read_bytes(), str(path))


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_each_shape_that_ever_landed_is_read(path):
    raw, record = json.loads(path.read_bytes()), old(path)
    assert (raw["schema_version"], record.schema_version) == (SCHEMA_OF[path.stem], SCHEMA_VERSION)
    assert record.status == "ok"
    assert record.timing.step_s == raw["timing"]["step_s"]
    assert record.ledger == raw["ledger"]
    assert decode_record(encode_record(record), "again") == record


def test_the_shapes_are_three_cells():
    """The first two ran stock operators, which were the default then and have a slug now."""
    ids = {path.stem: old(path).cell.id for path in SHAPES}
    stock = resolve_cell({"accelerator": "cpu", "peft": "lora", "seq_len": 16, "kernels": "stock"})
    custom = resolve_cell({"accelerator": "cpu", "peft": "lora", "seq_len": 16})
    two = resolve_cell({**custom.cell.axes(), "world_size": 2, "parallel": "fsdp2"})
    assert ids == {
        "088e58c": stock.cell.id, "437ac27": stock.cell.id,
        "350da0d": custom.cell.id, "bc1e2b8": custom.cell.id,
        "d299217": custom.cell.id, "605cebb": custom.cell.id, "ec73f2c": custom.cell.id,
        "49f7d2e": two.cell.id,
    }  # fmt: skip


@pytest.mark.full
def test_old_records_and_new_ones_are_one_report(tmp_path):
    for path in SHAPES:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_record(tmp_path / "new", old(SHAPES[-1]))
    loaded = load_folders([tmp_path, SAMPLE])
    assert loaded.refused == []
    assert len(loaded.records) == len(loaded.paths) == len(SHAPES) + 1 + 36
    assert {record.schema_version for record in loaded.records} == {SCHEMA_VERSION}
    write_report(loaded, tmp_path / "r.html", tmp_path / "r.csv")
    page = (tmp_path / "r.html").read_text()
    assert "dpo-llama-tiny-lora-cpu-t16-" in page


def test_every_sample_record_has_the_id_that_its_axes_have_today():
    for record in load_folders([SAMPLE]).records:
        digests = {"data_digest": record.cell.data_digest, "model_digest": record.cell.model_digest}
        assert make_cell(record.cell.axes(), digests) == record.cell


def test_which_card_a_record_got_is_not_its_environment():
    raw = json.loads(SHAPE_OF_1.read_bytes())
    digests = set()
    for card in ("0", "1", None):
        if card is not None:
            raw["provenance"]["environment"]["CUDA_VISIBLE_DEVICES"] = card
            raw["provenance"]["environment_digest"] = f"as if of card {card}"
        found = decode_record(json.dumps(raw).encode(), "x").provenance
        digests.add(found.environment_digest)
    assert len(digests) == 1
    raw["provenance"]["environment"]["OMP_NUM_THREADS"] = "7"
    other = decode_record(json.dumps(raw).encode(), "x").provenance.environment_digest
    assert other not in digests


@pytest.mark.parametrize(
    "path", [p for p in SHAPES if SCHEMA_OF[p.stem] == 1], ids=lambda p: p.stem
)
@pytest.mark.parametrize("torch_s", [False, True])
def test_an_old_record_is_of_the_environment_that_a_new_one_has_there(path, torch_s):
    """torch tells no driver of CUDA and of a CPU, so the digest had none, and the record got the
    telemetry's. Old and new were never one environment."""
    raw = json.loads(path.read_bytes())
    place = raw["provenance"]
    told = {name: place[name] for name in ("versions", "device", "runtime", "threads")}
    told["driver"] = place["driver"] = "580.65.06"
    told["driver"] = told["driver"] if torch_s else None
    now = environment_digest(environment=place["environment"], **told)
    for variables in ({}, {"CUDA_VISIBLE_DEVICES": "3"}):
        place["environment"] = {**place["environment"], **variables}
        place["environment_digest"] = environment_digest(environment=place["environment"], **told)
        found = decode_record(json.dumps(raw).encode(), "x").provenance
        assert (found.environment_digest, found.placement) == (now, variables)


def test_the_omitted_values_are_those_of_the_day_they_were_declared():
    assert {name: AXES[name].omitted for name in OMITTED} == OMITTED


@pytest.mark.parametrize("name", [name for name in AXES if name not in OMITTED])
def test_an_axis_that_came_later_is_omitted_at_what_was_before_it(name):
    defaults = dict(zip(Cell.__struct_fields__[-len(Cell.__struct_defaults__) :],
                        Cell.__struct_defaults__, strict=True))  # fmt: skip
    assert AXES[name].omitted is not None
    assert defaults[name] == AXES[name].omitted


def test_one_more_axis_changes_no_id(monkeypatch):
    cell = resolve_cell({"accelerator": "cpu", "method": "ppo", "batch": 3}).cell
    axes = cell.axes()
    before = dict(names.named_axes(axes))
    later = Axis(name="packing", choices=("off", "on"), default="off", omitted="off", help="rows")
    monkeypatch.setitem(axis_rows.AXES, "packing", later)
    assert dict(names.named_axes({**axes, "packing": "off"})) == before
    assert dict(names.named_axes({**axes, "packing": "on"})) == {**before, "packing": "on"}
    assert names.joined({**axes, "packing": "off"}) == cell.id.rpartition("-")[0]
    assert names.joined({**axes, "packing": "on"}) == f"{cell.id.rpartition('-')[0]}-on"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 0}, "schema_version is 0; this version reads 1 and 2"),
        ({"schema_version": 3}, "schema_version is 3; this version reads 1 and 2"),
        ({"schema_version": None}, "schema_version is None; this version reads 1 and 2"),
        ({"cell": {}}, "not an alignmeter record of schema 1: KeyError('data_digest')"),
        ({"cell": []}, "not an alignmeter record of schema 1"),
        ({"provenance": 3}, "not an alignmeter record of schema 1"),
        ({"replicate": "0"}, "Expected `int`, got `str` - at `$.replicate`"),
        ({"more": 1}, "unknown field `more`"),
    ],
)
def test_a_bad_old_record_is_one_sentence(change, words):
    raw = {**json.loads(SHAPES[0].read_bytes()), **change}
    with pytest.raises(InputError) as caught:
        decode_record(msgspec.json.encode(raw), "x/y.json")
    assert str(caught.value).startswith("x/y.json: ")
    assert words in str(caught.value)


def test_there_is_a_step_from_each_earlier_schema():
    assert sorted(RECORD_STEPS) == list(range(1, SCHEMA_VERSION))
