"""Axes, matrices and cells through their public functions."""

import contextlib
import json
import os
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import expand, packaged_names, read_matrix, read_overrides
from alignmeter.cells.names import named_axes
from alignmeter.cells.values import check_value
from alignmeter.errors import InputError
from alignmeter.registry import METHODS, MethodRow, unused_axes
from alignmeter.session.resolve import notes_on, resolve_cell, resolve_plan

CPU = {"accelerator": "cpu"}


def test_quick_matrix_is_the_twelve_cells_of_the_design():
    matrix = read_matrix("quick")
    plan = resolve_plan(expand(matrix, {"accelerator": ("cpu",)}))
    heads = {(p.cell.method, p.cell.architecture, p.cell.peft) for p in plan}
    assert len(plan) == len(heads) == 12
    assert {(p.cell.size, p.cell.seq_len, p.cell.prompt_len, p.cell.batch) for p in plan} == {
        ("tiny", 64, 32, 2)
    }
    assert (matrix.warmup, matrix.steps) == (2, 5)


def test_id_of_a_cell_at_its_defaults_has_no_slug():
    cell = resolve_cell({**CPU, "peft": "lora"}).cell
    head, _, digest = cell.id.rpartition("-")
    assert head == "dpo-llama-tiny-lora-cpu"
    assert len(digest) == 8
    assert int(digest, 16) >= 0


def test_id_names_each_axis_that_differs():
    axes = {
        **CPU, "method": "ppo", "seq_len": 512, "batch": 4, "checkpointing": "on",
        "ppo_backward": "joint", "data": "synthetic",
    }  # fmt: skip
    head = resolve_cell(axes).cell.id.rpartition("-")[0]
    assert head == "ppo-llama-tiny-full-cpu-t512-b4-gc-joint-synthetic"


def test_naming_a_default_changes_nothing():
    assert resolve_cell({**CPU, "seq_len": 64, "prompt_len": 32}) == resolve_cell(CPU)


def test_axes_without_effect_make_no_new_cell():
    overrides = {
        "accelerator": ("cpu",), "ppo_backward": ("sequential", "joint"), "peft": ("full",),
        "architecture": ("llama",), "lora_rank": (8, 16),
    }  # fmt: skip
    plan = resolve_plan(expand(read_matrix("quick"), overrides))
    assert [(p.cell.method, p.cell.ppo_backward) for p in plan] == [
        ("dpo", "sequential"), ("ppo", "sequential"), ("ppo", "joint"),
    ]  # fmt: skip


def test_an_axis_of_a_new_method_has_no_effect_on_the_others(monkeypatch):
    """Its row alone says so: nothing else lists axes of methods."""
    assert resolve_cell({**CPU, "lane": "tuned"}).cell.lane == "tuned"
    monkeypatch.setitem(METHODS, "new", MethodRow(path="", axes=("lane", "ref")))
    assert "lane" in unused("dpo", "full")
    assert {"lane", "ref"}.isdisjoint(unused("new", "full"))
    assert resolve_cell({**CPU, "lane": "tuned"}).cell == resolve_cell(CPU).cell


def unused(method, peft, **axes):
    others = {"optimizer": "adamw", "kl": "0", "world_size": 1, "parallel": "none"}
    return unused_axes({"method": method, "peft": peft, **others, **axes}.__getitem__)


PPO = {"ppo_topology", "ppo_backward", "ppo_epochs", "ppo_minibatches"}
GROUPS = {"group", "reward"}
GRPO = {"grpo_variant", "kl", *GROUPS}
RANKS = {"parallel", "rollout_weights"}


def test_axes_of_methods_and_modes_that_are_not_the_cells_change_nothing():
    assert set(unused("ppo", "qlora")) == {
        "dpo_loss", "microbatches", "rows", "teacher", *GRPO, *RANKS,
    }  # fmt: skip
    assert set(unused("dpo", "lora")) == {
        *PPO, *GRPO, *RANKS, "quantiser", "embeddings", "rollout", "rows", "teacher",
    }  # fmt: skip
    assert set(unused("rloo", "qlora")) == {
        *PPO, *GRPO, *RANKS, "dpo_loss", "microbatches", "rows", "teacher",
    } - GROUPS  # fmt: skip
    for method in ("simpo", "orpo"):
        others = {*PPO, *GRPO, *RANKS, "dpo_loss", "rows", "teacher"}
        assert set(unused(method, "qlora")) == {*others, "ref", "rollout"}
    assert "optimizer_impl" in unused("ppo", "full", optimizer="muon")
    assert set(unused("distill", "qlora")) == {
        *PPO, *GRPO, *RANKS, "dpo_loss", "loss_head", "microbatches", "rows", "ref",
    }  # fmt: skip
    with pytest.raises(InputError, match="'of_tomorrow' is not a known name; known: sft, rm"):
        unused("of_tomorrow", "lora")


def test_how_devices_share_a_step_counts_where_there_are_several():
    assert RANKS.isdisjoint(unused("ppo", "full", world_size=2, parallel="fsdp2"))
    assert set(unused("ppo", "full", world_size=2, parallel="ddp")) & RANKS == {"rollout_weights"}
    assert set(unused("dpo", "full", world_size=2, parallel="fsdp2")) & RANKS == {"rollout_weights"}
    alone = resolve_cell({**CPU, "parallel": "fsdp2", "rollout_weights": "gathered"})
    assert alone == resolve_cell(CPU)
    name = resolve_cell({**CPU, "method": "ppo", "world_size": 2, "parallel": "fsdp2"}).cell.id
    assert "-w2-fsdp2-" in name


def test_a_value_of_one_axis_can_leave_another_without_effect():
    """GRPO without a KL term has no ref_model: whatever ``ref`` says is the same cell, and told."""
    assert "ref" in unused("grpo", "full")
    assert "ref" not in unused("grpo", "full", kl="k3")
    base = {**CPU, "method": "grpo", "peft": "lora"}
    plain = resolve_cell(base).cell
    for ref in ("resident", "adapter-off", "precomputed"):
        assert resolve_cell({**base, "ref": ref}).cell == plain
        assert resolve_cell({**base, "ref": ref}).unsupported is None
        notes = notes_on({"ref": ref}, plain) if ref != plain.ref else [ref]
        assert len(notes) == 1
    kept = resolve_cell({**base, "kl": "k3", "ref": "resident"}).cell
    assert kept.ref == "resident"
    assert kept.id != resolve_cell({**base, "kl": "k3"}).cell.id


def test_defaults_of_what_came_later_are_in_no_id():
    """The digest covers what is off the value that an axis came with."""
    later = ("dpo_loss", "grpo_variant", "kl", "group", "reward", "teacher", "world_size", *RANKS)
    for name in later:
        assert (
            AXES[name].omitted
            == AXES[name].default
            == Cell.__struct_defaults__[
                Cell.__struct_fields__[-len(Cell.__struct_defaults__) :].index(name)
            ]
        )
    cell = resolve_cell({**CPU, "method": "ppo", "data": "synthetic"}).cell
    named = dict(named_axes(cell.axes()))
    assert not set(named) & set(later)


@pytest.mark.parametrize("axis", [a for a in AXES.values() if a.integer], ids=lambda a: a.name)
def test_every_integer_axis_enters_the_id(axis):
    method = next((name for name, row in METHODS.items() if axis.name in row.axes), "dpo")
    base = {**CPU, "method": method, "peft": "qlora"}
    other = {"prompt_len": 8}.get(axis.name, 48 if axis.name == "seq_len" else 3)
    assert resolve_cell({**base, axis.name: other}).cell.id != resolve_cell(base).cell.id


def test_data_in_two_places_is_one_cell(tmp_path):
    row = json.dumps({"prompt": "p" * 40, "chosen": "c", "rejected": "r"})
    paths = [tmp_path / "a.jsonl", tmp_path / "b" / "c.jsonl"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(row)
    ids = {resolve_cell({**CPU, "data": str(path)}).cell.id for path in paths}
    assert len(ids) == 1


def test_cell_survives_json():
    cell = resolve_cell(CPU).cell
    assert msgspec.json.decode(msgspec.json.encode(cell), type=Cell) == cell


@pytest.mark.parametrize(
    ("axes", "code", "words"),
    [
        ({"ref": "adapter-off"}, "impossible", "ref = resident"),
        ({"precision": "bf16-base"}, "impossible", "bf16-mixed"),
        ({"prompt_len": 64}, "impossible", "no room for a response"),
        ({"method": "ppo", "ppo_minibatches": 5}, "impossible", "4 rollouts"),
        ({"method": "ppo", "ref": "precomputed"}, "impossible", "cannot be precomputed"),
        ({"accelerator": "xpu"}, "accelerator_missing", "here: cpu"),
    ],
)
def test_impossible_cells_say_why(axes, code, words):
    reason = resolve_cell({**CPU, **axes}).unsupported
    assert reason is not None
    assert reason.code == code
    assert words in reason.text


def write(tmp_path, text):
    path = tmp_path / "m.toml"
    path.write_text(text)
    return str(path)


def test_exclude_shows_up_with_its_reason(tmp_path):
    path = write(
        tmp_path,
        'schema = 1\n[[grid]]\nmethod = ["dpo", "ppo"]\naccelerator = "cpu"\n'
        '[[exclude]]\nmethod = "ppo"\nreason = "too long for tonight"\n',
    )
    plan = resolve_plan(expand(read_matrix(path), {}))
    assert [p.unsupported and p.unsupported.text for p in plan] == [None, "too long for tonight"]


def test_grids_add_up_and_defaults_apply(tmp_path):
    path = write(
        tmp_path,
        'schema = 1\nsteps = 3\n[defaults]\nseq_len = 32\n[[grid]]\npeft = ["full", "lora"]\n'
        '[[grid]]\nseq_len = 64\npeft = "full"\n',
    )
    matrix = read_matrix(path)
    axes = [choice.axes for choice in expand(matrix, {})]
    assert axes == [
        {"peft": "full", "seq_len": 32}, {"peft": "lora", "seq_len": 32},
        {"peft": "full", "seq_len": 64},
    ]  # fmt: skip
    assert matrix.steps == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema = 2", "reads schema = 1"),
        ("x y", "not valid TOML"),
        ("schema = 1\nfoo = 1", "unknown key 'foo'; known: schema"),
        ("schema = 1\n[[grid]]\nmethod = 'dpoo'", f"known: {', '.join(METHODS)}"),
        ("schema = 1\n[[grid]]\nmehtod = 'dpo'", "'mehtod' is not an axis"),
        ("schema = 1\n[[grid]]\npeft = []", "at least one value"),
        ("schema = 1\n[defaults]\nbatch = 0", "whole number of at least 1"),
        ("schema = 1\n[defaults]\nbatch = true", "whole number"),
        ("schema = 1\n[defaults]\nbatch = 1.5", "whole number"),
        ("schema = 1\n[[exclude]]\nmethod = 'ppo'", "reason is missing"),
        ("schema = 1\ngrid = 3", "[[grid]]"),
        ("schema = 1\ndefaults = 3", "[defaults]"),
        ("schema = 1\nsteps = 0", "steps is 0"),
        ("schema = 1\noperators = 1", "operators is 1; give true or false"),
        ("schema = 2\nfoo = 1", "schema is 2; this version reads schema = 1"),  # may know foo
        ("schema = 1\ngrid = [3]", "grid is [3]; write an array of tables, [[grid]]"),
        ("schema = 1\nsteps = true", "steps is True; give a whole number of at least 1"),
        ("schema = 1\nwarmup = 1.0", "warmup is 1.0; give a whole number of at least 1"),
        ("schema = 1\nwarmup = -1", "warmup is -1; give a whole number of at least 1"),
        ("schema = 1\nsteps = " + "9" * 5000, "not valid TOML"),  # Python's limit of digits
        (f"schema = 1\nsteps = '{'x' * 1000}'", f"steps is '{'x' * 56}...; give a whole number"),
        ("schema = 1\n[[grid]]\n[[grid]]\nseq_len = 1", "[[grid]] 2: 1 is not a value of seq_len"),
    ],
)
def test_a_wrong_matrix_file_is_one_sentence_with_its_name(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_matrix(path)
    assert words in str(caught.value)
    assert path in str(caught.value)


def test_an_unknown_matrix_lists_the_packaged_ones():
    with pytest.raises(InputError, match=f"known: {', '.join(packaged_names())}$"):
        read_matrix("quikc")
    assert {"quick", "delta", "methods"} <= set(packaged_names())


def test_a_matrix_that_is_not_text(tmp_path):
    path = tmp_path / "m.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_matrix(str(path))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            {"method": "dpo,xyz"},
            f"--method: 'xyz' is not a value of method; known: {', '.join(METHODS)}",
        ),
        ({"seq_len": "many"}, "--seq-len: 'many' is not a value of seq_len"),
        ({"data": "/no/such.jsonl"}, "--data: data file '/no/such.jsonl' does not exist"),
        (
            {"data": "/no" * 999},
            "/no/no' does not exist; give packaged, synthetic, ",
        ),
        ({"data": "x" * 300}, "xxx' cannot be looked for: File name too long"),
        ({"model": "m" * 300}, "mmm' cannot be looked for: File name too long"),
        (
            {"data": "caf\udce9.jsonl"},
            "--data: 'caf .jsonl' is a name that is not UTF-8; rename it",
        ),
        (
            {"data": os.devnull},
            "data '/dev/null' is a pipe or a device, read only once; save it as",
        ),
        ({"lane": ""}, "--lane: lane wants text"),
    ],
)
def test_a_wrong_flag_names_itself(flags, words):
    with pytest.raises(InputError) as caught:
        read_overrides(flags)
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 300


@given(st.integers(min_value=4, max_value=2**27))
def test_whole_numbers_are_read_from_text_and_toml_alike(number):
    assert check_value("seq_len", str(number), "x") == check_value("seq_len", number, "x") == number


@given(st.text(max_size=30))
def test_no_text_crashes_a_flag(text):
    for name in AXES:
        with contextlib.suppress(InputError):
            read_overrides({name: text})


def test_columns_are_one_value_with_commas(tmp_path):
    text = "prompt=question,chosen=good,rejected=bad"
    assert read_overrides({"columns": text}) == {"columns": (text,)}
    matrix = tmp_path / "m.toml"
    matrix.write_text(f'schema = 1\n[[grid]]\ncolumns = ["auto", "{text}"]\n')
    assert [c.axes["columns"] for c in expand(read_matrix(str(matrix)), {})] == ["auto", text]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("question", "--columns: 'question' names no column; give prompt=NAME"),
        ("prompt=", "'prompt=' names no column"),
        ("query=a", "'query' is not a field of a row; known: prompt, chosen, rejected, completion"),
        ("completion=a,rejected=b", "--columns: fields of pairs and of single answers; give"),
        ("prompt=a,prompt=b", "prompt is given twice"),
    ],
)
def test_columns_that_say_nothing_are_refused(text, words):
    with pytest.raises(InputError, match=re.escape(words)):
        read_overrides({"columns": text})
