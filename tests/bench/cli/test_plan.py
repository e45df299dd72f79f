"""`alignmeter plan`, where plans fit, and the store of plans."""

import json
import re
import subprocess
import sys
from pathlib import Path

import delta_8b as delta
import msgspec
import pytest
import torch
from click.testing import CliRunner
from made_plans import made_plan
from made_records import make_record

from alignmeter import __version__
from alignmeter.analysis.chips import chips_named, peaks
from alignmeter.cli import cli, main
from alignmeter.errors import CellError, InputError
from alignmeter.methods.sft import SftStep
from alignmeter.planner import (
    ALLOWANCE,
    NotPlannedError,
    fit,
    fits,
    known_prediction,
    plan_cell,
    store,
    trace,
)
from alignmeter.records.folder import load_folders
from alignmeter.units import GIB, MIB

TINY = ("--size", "tiny", "--seq-len", "16", "--method", "sft", "--architecture", "llama",
        "--peft", "lora")  # fmt: skip


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run_plan(*arguments):
    return CliRunner().invoke(cli, ["plan", *arguments])


def test_the_text_names_peak_ledger_and_chips_in_80_columns():
    done = run_plan(*TINY, "--for", "H100-SXM, MI300X")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("sft-llama-tiny-lora-cuda-")
    assert lines[1].startswith("  peak   ")
    assert " in backward (aten." in lines[1]
    assert lines[2].startswith("  ledger ")
    (fitting,) = [line for line in lines if line.startswith("  fits   ")]
    assert "H100-SXM +78." in fitting
    assert "MI300X +" in fitting
    (bound,) = [line for line in lines if line.startswith("  bound  ")]
    assert "at least" in bound
    assert " on MI300X, " in bound  # the larger peak comes first
    assert "not yet with a GPU's" in " ".join(lines[-3:])


@pytest.mark.exhaustive
def test_all_chips_and_the_largest_of_each_axis_in_80_columns():
    done = run_plan(*TINY, "--largest", "--for", "RTX-4090")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "(batch " in " ".join(done.stdout.split())
    everywhere = run_plan(*TINY)
    assert max(map(len, everywhere.stdout.splitlines())) <= 80
    assert all(
        name in everywhere.stdout for name, chip in peaks().items() if chip.memory_bytes is not None
    )


def test_json_has_what_the_design_says():
    done = run_plan(*TINY, "--for", "MI300X", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["schema_version"], document["alignmeter"]) == (1, __version__)
    (entry,) = document["predictions"]
    assert entry["cell"]["id"].startswith("sft-llama-tiny-lora-cuda-")
    assert set(entry["phases"]) == {"forward", "backward", "optimizer"}
    assert sum(entry["ledger"].values()) == entry["peak_bytes"] == max(entry["phases"].values())
    assert entry["fits"]["MI300X"]["ok"] is True
    backward = entry["demand"]["backward"]
    assert 0 < backward["flops"] / 1.3074e15 < entry["fits"]["MI300X"]["bound_s"]
    memory = peaks()["MI300X"].memory_bytes
    # Two threads keep 32 MiB each where it was planned, and 128 + 76 each there.
    assert entry["ledger"]["library_workspace_bytes"] == 2 * 32 * MIB
    needed = ALLOWANCE.needed_bytes(entry["peak_bytes"] + 2 * (128 + 76 - 32) * MIB)
    assert entry["fits"]["MI300X"]["spare_bytes"] == memory - needed


def test_chips_are_named_by_how_their_names_begin():
    """A name in full is one chip, whatever others begin so too."""
    assert chips_named("h100") == ("H100-SXM", "H100-PCIe", "H100-NVL")
    assert chips_named("Max-1550") == ("Max-1550",)
    done = run_plan(*TINY, "--for", "h100,MI300X", "--json")
    (entry,) = json.loads(done.stdout)["predictions"]
    assert list(entry["fits"]) == ["H100-SXM", "H100-PCIe", "H100-NVL", "MI300X"]


def test_an_unknown_chip_lists_the_nearest(tmp_path):
    done = subprocess.run(
        [Path(sys.executable).with_name("alignmeter"), "plan", *TINY, "--for", "H10O"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'H10O' is not a known chip; nearest of 24 known: H100-" in done.stderr


def test_the_help_states_the_defaults_of_its_own_matrix():
    """Those of `plan` are 8b models at T 1024, of `run` tiny ones at T 64."""

    def default(command, flag):
        text = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
        return re.search(rf" {flag} [A-Z]+ .*?\(default ([^)]*), or the matrix's\)", text)[1]

    assert default("plan", "--size") == "8b"
    assert default("plan", "--seq-len") == "1024"
    assert default("plan", "--method") == "sft, rm, dpo, ppo"
    assert default("plan", "--accelerator") == "cuda"
    assert default("run", "--size") == "tiny"
    assert default("run", "--accelerator") == "auto"


def test_a_plan_file_is_read_by_reports(tmp_path):
    done = run_plan(*TINY, "--for", "MI300X", "--json", "--out", str(tmp_path / "new"))
    assert done.exit_code == 0
    assert (tmp_path / "new" / "plan.json").read_text() == done.stdout
    (entry,) = json.loads(done.stdout)["predictions"]
    loaded = load_folders([tmp_path / "new"])
    assert loaded.refused == []
    assert [p.cell.id for p in loaded.predictions] == [entry["cell"]["id"]]
    (tmp_path / "new" / "plan.json").write_text('[{"cell": 1}]')
    (refused,) = load_folders([tmp_path / "new"]).refused
    assert "plan.json" in refused


def test_cells_that_cannot_be_are_told_and_the_others_planned():
    done = run_plan(*TINY, "--method", "ppo,dpo", "--ref", "precomputed", "--for", "MI300X")
    assert done.exit_code == 0
    assert "not planned: PPO's tokens are new in every step" in done.stderr
    assert done.stdout.startswith("dpo-llama-tiny-lora")
    assert "ppo-" not in done.stdout


def test_data_too_short_for_one_cell_is_its_reason_and_the_others_are_planned():
    done = run_plan(*TINY, "--seq-len", "16,4096", "--data", "packaged", "--for", "MI300X")
    assert done.exit_code == 0
    assert done.stdout.startswith("sft-llama-tiny-lora-cuda-t16-")
    (line,) = done.stderr.splitlines()
    assert line.startswith("sft-llama-tiny-lora-cuda-t4096-")
    assert ": not planned: 0 of 77 prompts have 2048 tokens or more" in line


def test_json_has_the_reasons_too_also_where_nothing_was_planned(tmp_path):
    axes = (*TINY, "--data", "packaged", "--for", "MI300X", "--json", "--out", str(tmp_path))
    for lengths, status in (("16,4096", 0), ("4096", 3)):
        done = run_plan(*axes, "--seq-len", lengths)
        assert done.exit_code == status
        document = json.loads(done.stdout)
        (left_out,) = document["not_planned"]
        assert left_out["cell"]["seq_len"] == 4096
        assert left_out["reason"].startswith("0 of 77 prompts have 2048 tokens or more")
        assert [row["cell"]["seq_len"] for row in document["predictions"]] == [16] * (status == 0)
        assert (tmp_path / "plan.json").read_text() == done.stdout
        assert len(load_folders([tmp_path]).predictions) == len(document["predictions"])


@pytest.mark.full
def test_where_no_larger_one_has_a_plan_the_cells_own_stands():
    """15 of the packaged pairs are long enough, and far more than 15 would fit."""
    axes = (*TINY, "--seq-len", "256", "--data", "packaged")
    done = run_plan(*axes, "--for", "MI300X", "--largest")
    assert done.exit_code == 0
    assert "MI300X +" in done.stdout
    assert "(batch " not in done.stdout
    assert "no largest batch or sequence: 15 of 77 prompts have 128 tokens or more" in done.stderr


KINDS = [
    (CellError("unsupported", "data_too_short", "too few"), 3, "not planned: too few"),
    (NotPlannedError("x.y needs values"), 3, "not planned: x.y needs values"),
    (ValueError("a bad shape\nand more"), 3, "not planned: the step cannot be made without data "
     "(ValueError: a bad shape); only"),
    (RecursionError(), 3, "(RecursionError: ); only a measurement"),
    (MemoryError(), 3, "(MemoryError: ); only a measurement"),
    (InputError("p.jsonl, line 3: no prompt"), 2, "Error: p.jsonl, line 3: no prompt"),
]  # fmt: skip


@pytest.mark.parametrize(
    "place",
    [
        "open_method",
        pytest.param("open_setup", marks=pytest.mark.exhaustive),
        pytest.param("open_batches", marks=pytest.mark.exhaustive),
        pytest.param("library_workspace_bytes", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize(
    ("error", "status", "words"), KINDS, ids=[type(row[0]).__name__ for row in KINDS]
)
def test_whatever_stops_a_plan_is_a_reason_or_the_users_to_mend(
    monkeypatch, capsys, place, error, status, words
):
    """A cell's failure is a row of its own; a file that cannot be read is the command's end."""

    def fails(*arguments, **keywords):
        raise error

    monkeypatch.setattr(trace, place, fails)
    monkeypatch.setattr("sys.argv", ["alignmeter", "plan", *TINY, "--for", "MI300X"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == status
    assert said.out == ""
    if place == "library_workspace_bytes" and status == 3:  # by then there is an operator to name
        assert "not planned: " in said.err
    else:
        assert words in said.err
    assert ("Nothing could be planned." in said.err) == (status == 3)
    assert "Traceback" not in said.err


def test_a_plan_fits_when_peak_fragmentation_and_context_do():
    """100 GiB of peak need 100 x 1.03 + 1 = 104 GiB."""
    sizes = {"less": 103 * GIB, "equal": 104 * GIB, "unknown": None}
    chips = {
        name: msgspec.structs.replace(peaks()["MI300X"], memory_bytes=size, arch=None)
        for name, size in sizes.items()
    }
    found = fits(made_plan(100 * GIB), chips)
    assert {name: (f.ok, f.spare_bytes) for name, f in found.items()} == {
        "less": (False, -GIB),
        "equal": (True, 0),
    }


def of_batch(axes):
    """10 GiB and 2 per pair; from 60 pairs on a GiB more, which no line through two points sees."""
    batch = axes.get("batch", 2)
    return made_plan((10 + 2 * batch + (batch >= 60)) * GIB)


@pytest.mark.parametrize(
    ("pairs", "room_gib"),
    [(2, 14), (44, 98), (59, 128), (59, 130), (59, 130.5), (60, 131), (0, 11.5)],
)
def test_the_largest_batch_is_one_that_its_own_plan_allows(pairs, room_gib):
    memory = ALLOWANCE.needed_bytes(round(room_gib * GIB))
    assert fit.largest_batch(make_record(batch=2).cell, memory, of_batch) == pairs


@pytest.mark.parametrize("tokens", [64, 1024, 1536, 100 * 64])
def test_the_longest_sequence_solves_a_parabola(tokens):
    """5 GiB and T squared, prompts half of T: exactly what T tokens need gives T, less gives 64
    fewer."""
    asked = []

    def of(axes):
        asked.append(axes)
        length = axes["seq_len"]
        assert axes["prompt_len"] == length // 2
        return made_plan(5 * GIB + 1000 * length * length + 7 * length)

    cell = make_record(seq_len=256).cell
    memory = ALLOWANCE.needed_bytes(of({"seq_len": tokens, "prompt_len": tokens // 2}).peak_bytes)
    assert fit.largest_seq_len(cell, memory + 10**6, of) == tokens
    assert fit.largest_seq_len(cell, memory - 10**6, of) == max(tokens - 64, 0)
    assert asked[1:4] == [{"seq_len": n, "prompt_len": n // 2} for n in (256, 512, 1024)]


def test_a_stored_plan_is_used_and_belongs_to_its_versions(monkeypatch, make_cell):
    cell, made = make_cell(), []

    def counted(cell):
        made.append(cell)
        return made_plan(7, cell)

    monkeypatch.setattr(store, "predict_soon", counted)
    assert known_prediction(cell) is None
    assert plan_cell(cell) == plan_cell(cell) == known_prediction(cell)
    assert len(made) == 1
    plan_cell(make_cell(batch=3))
    assert len(made) == 2
    monkeypatch.setattr(store, "installed_versions", lambda: {"torch": "99"})
    assert known_prediction(cell) is None
    plan_cell(cell)
    assert len(made) == 3


def test_a_store_that_cannot_be_read_or_written_costs_a_repetition(
    monkeypatch, make_cell, tmp_path
):
    cell = make_cell()
    monkeypatch.setattr(store, "predict_soon", lambda cell: made_plan(7, cell))
    plan_cell(cell)
    (path,) = store.plans_folder().iterdir()
    path.write_text('{"peak_bytes": 7}')
    assert known_prediction(cell) is None
    assert plan_cell(cell).peak_bytes == 7
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert plan_cell(cell).peak_bytes == 7


def test_the_delta_is_told_with_its_parts():
    """DPO 10 GiB; PPO 16: 4 more of value weights, 1 of optimizer state, 1 of activations."""
    cell = make_record(method="dpo").cell
    ppo = make_record(method="ppo", ppo_backward="joint").cell
    of_dpo = {"policy_weights": 8 * GIB, "activations": 2 * GIB}
    of_ppo = of_dpo | {
        "value_weights": 4 * GIB, "optimizer_state": GIB, "activations": 3 * GIB,
    }  # fmt: skip
    head, _, row = delta.table(
        [made_plan(10 * GIB, cell, **of_dpo), made_plan(16 * GIB, ppo, **of_ppo)]
    )
    assert "PPO - DPO" in head
    assert row.split(" | ")[3:] == [
        "joint", "10.00", "16.00", "6.00", "38 %", "4.00", "1.00", "1.00 |",
    ]  # fmt: skip


@pytest.mark.full
def test_several_cells_end_in_a_table_with_the_smallest_chip():
    done = run_plan(*TINY[:-1], "lora,full", "--for", "RTX-4090,MI300X")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["2", "of", "2", "RTX-4090"] in [row[-4:] for row in rows if row[:1] == ["lora"]]
    assert ["2", "of", "2", "RTX-4090"] in [row[-4:] for row in rows if row[:1] == ["full"]]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_step_that_reads_values_names_the_operator_and_the_others_are_planned(monkeypatch):
    """A foreign model's control flow: which pairs are longer depends on the data."""
    run = SftStep.run

    def reads_values(self, batch, probe):
        if batch.ids.shape[1] == 16 and bool((batch.ids.sum() > 0).item()):
            return None
        return run(self, batch, probe)

    monkeypatch.setattr(SftStep, "run", reads_values)
    done = run_plan(*TINY, "--seq-len", "16,20", "--for", "MI300X", "--json")
    assert done.exit_code == 0
    assert [entry["cell"]["seq_len"] for entry in json.loads(done.stdout)["predictions"]] == [20]
    assert "not planned: aten._local_scalar_dense.default needs the values" in done.stderr
    assert "only a measurement can tell" in done.stderr


def test_an_operator_without_a_fake_implementation_is_named_and_nothing_planned_is_3(monkeypatch):
    def unfinished(self, batch, probe):
        return torch.ops.made_for_plan_tests.no_fake(batch.ids)

    library = torch.library.Library("made_for_plan_tests", "DEF")
    library.define("no_fake(Tensor x) -> Tensor")
    library.impl("no_fake", lambda x: x.clone(), "CPU")
    monkeypatch.setattr(SftStep, "run", unfinished)
    done = run_plan(*TINY, "--for", "MI300X")
    library._destroy()
    assert done.exit_code == 3
    assert "not planned: made_for_plan_tests.no_fake.default" in done.stderr
    assert "Nothing could be planned." in done.stderr
