"""Results of others: the formats that are read, and sentences on what is none of them."""

import json
import statistics

import pytest
from click.testing import CliRunner
from made_cells import make_cell_records

from alignmeter.cli import cli
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.foreign import read_foreign
from alignmeter.records.reported import decode_reported, encode_reported
from alignmeter_reports import write_report

INTERVALS, STEPS, TOKENS = 2, 250, 40_000


def of_peft(*, newer=True, **said):
    """A file of PEFT's method comparison, as its ``log_results`` writes it: what is read of it."""
    prefix = "accelerator" if newer else "cuda"
    metrics = [
        {"step": STEPS * (k + 1), "train time": 30.0 + k, "eval time": 11.0, "tokens / sec": 6700.0}
        for k in range(INTERVALS)
    ]
    last = {"step": STEPS * INTERVALS, "test accuracy": 0.48, "train total tokens": TOKENS}
    train = {"model_id": "meta-llama/Llama-3.2-3B", "dtype": "bfloat16", "max_seq_length": 768,
             "batch_size": 4, "max_steps": 5000}  # fmt: skip
    found = {
        "run_info": {"created_at": "2026-07-14T13:50:31+00:00", "total_time": 90.0,
                     "experiment_name": "lora/llama-3.2-3B-rank32", "train_config": train,
                     "peft_config": {"peft_type": "LORA", "r": 32}, "error_msg": ""},
        "train_info": {f"{prefix}_memory_max": 22_273_851_392, "train_time": 85.0,
                       "file_size": 36_715_216, "num_trainable_params": 9_175_040,
                       "num_total_params": 3_221_924_864, "status": "success",
                       "metrics": [*metrics, last]},
        "meta_info": {"package_info": {"torch-version": "2.13.0", "torch-commit-hash": None},
                      "system_info": {"accelerator" if newer else "gpu": "NVIDIA L40S"}},
    }  # fmt: skip
    return found | said


def written(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize("newer", [True, False])
def test_a_result_of_peft_is_read_in_either_of_its_spellings(tmp_path, newer):
    """Evaluations are no part of a step: its time is that of training alone."""
    found = read_foreign([written(tmp_path / "lora.json", of_peft(newer=newer))])
    (row,) = found.rows
    seconds = sum(30.0 + k for k in range(INTERVALS))
    assert row.step_s == pytest.approx(seconds / (STEPS * INTERVALS))
    assert row.tokens_per_s == pytest.approx(TOKENS / seconds)
    assert (row.peak_bytes, row.peak_of) == (22_273_851_392, "reserved")
    assert (row.method, row.peft, row.device) == (
        "supervised fine-tuning", "lora", "NVIDIA L40S")  # fmt: skip
    assert (row.seq_len, row.batch, row.others["test accuracy"]) == (768, 4, 0.48)
    assert row.versions == {"torch": "2.13.0"}
    assert found.sources[row.source].format == "peft"
    assert decode_reported(encode_reported(found), "r") == found


def test_full_fine_tuning_and_a_failed_run_are_named(tmp_path):
    whole = of_peft()
    whole["run_info"]["peft_config"] = None
    whole["train_info"] |= {"status": "failed", "metrics": []}
    (row,) = read_foreign([written(tmp_path / "full.json", whole)]).rows
    assert (row.peft, row.status, row.step_s, row.tokens_per_s) == (
        "full fine-tuning", "failed", None, None)  # fmt: skip


def test_json_of_pytest_benchmark_has_the_times_of_the_worker(tmp_path):
    steps = [0.2, 0.1, 0.4]
    session = {
        "machine_info": {"alignmeter": [{"accelerator": "cpu", "device": "AMD EPYC"}]},
        "commit_info": {"id": "abc"}, "datetime": "2026-01-02T03:04:05", "version": "5.1.0",
        "benchmarks": [
            {"fullname": "suites/bench_alignment.py::a", "stats": {"median": 0.9}, "extra_info": {
                "cell": "dpo-a", "replicate": 1, "status": "ok", "step_s": steps,
                "allocated_peak_bytes": 7, "memory_kind": "cpu tensor storage"}},
            {"fullname": "suites/bench_kernels.py::b", "stats": {"median": 0.5}, "extra_info": {}},
        ],
    }  # fmt: skip
    cell, kernel = read_foreign([written(tmp_path / "b.json", session)]).rows
    assert (cell.name, cell.step_s) == ("dpo-a.r1", statistics.median(steps))
    assert (cell.peak_bytes, cell.device) == (7, "AMD EPYC")
    assert (kernel.step_s, kernel.others) == (None, {"median of a call, s": 0.5})


TABLE = "config,ms/step,memory (GB),acc\nr8,120.5,10.5,0.4\nr16,131,,\n"
COLUMNS = """schema = 1
source = "Table 3"
peak_of = "reserved"
[columns]
name = "config"
step_s = "ms/step"
peak_bytes = "memory (GB)"
[units]
step_s = 0.001
peak_bytes = 1e9
[fixed]
method = "sft"
seq_len = 512
[others]
accuracy = "acc"
"""


def test_a_described_csv_is_read_in_its_units(tmp_path):
    """An empty field was not reported."""
    columns = written(tmp_path / "t.toml", COLUMNS)
    first, second = read_foreign([written(tmp_path / "t.csv", TABLE)], columns).rows
    assert (first.name, first.step_s) == ("r8", pytest.approx(0.1205))
    assert (first.peak_bytes, first.others) == (10_500_000_000, {"accuracy": 0.4})
    assert (first.method, first.seq_len, first.peak_of) == ("sft", 512, "reserved")
    assert (second.name, second.peak_bytes, second.others) == ("r16", None, {})


WRONG = {
    # what it is -> file name, content, description of columns, what the sentence has
    "not json": ("a.json", "{", None, "neither a CSV file nor a JSON object"),
    "another json": ("a.json", '{"x": 1}', None, "no format that is known here; known: peft"),
    "a field is missing": (
        "a.json", json.dumps(of_peft(meta_info={})), None,
        "not a result of PEFT's method comparison: Object missing required field `system_info`"),
    "nothing in it": ("a.json", '{"benchmarks": [], "machine_info": {}}', None, "holds no result"),
    "no description": ("a.csv", TABLE, None, "give --columns FILE"),
    "an unknown field": ("a.csv", TABLE, COLUMNS + 'x = "y"\n[fixed2]\n', "unknown key 'fixed2'"),
    "a field that is none": (
        "a.csv", TABLE, COLUMNS.replace("step_s = 0.001", "speed = 2"), "units.speed is no field"),
    "no such column": (
        "a.csv", TABLE, COLUMNS.replace('"ms/step"', '"ms"'), "no column 'ms'; known: config"),
    "no name": (
        "a.csv", TABLE, COLUMNS.replace('name = "config"\n', ""), "columns.name is missing"),
    "no number": (
        "a.csv", TABLE.replace("131", "fast"), COLUMNS,
        "line 3: column 'ms/step' is 'fast'; a number is right"),
    "below zero": ("a.csv", TABLE.replace("131", "-1"), COLUMNS, "line 3: Expected `float` >= 0"),
    "a folder": ("", "", None, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, case):
    name, text, columns, said = WRONG[case]
    path = written(tmp_path / name, text) if name else tmp_path
    description = None if columns is None else written(tmp_path / "c.toml", columns)
    with pytest.raises(InputError) as caught:
        read_foreign([path], description)
    assert said in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


def test_imported_results_alone_are_a_page_too(tmp_path):
    source, folder = written(tmp_path / "lora.json", of_peft()), tmp_path / "theirs"
    done = CliRunner().invoke(cli, ["import", str(source), "--out", str(folder)])
    assert done.exit_code == 0, done.stderr
    page, short = tmp_path / "r.html", tmp_path / "r.md"
    done = CliRunner().invoke(cli, ["report", str(folder), "--out", str(page), "--md", str(short)])
    assert (done.exit_code, done.stdout) == (0, f"HTML  {page}\nMarkdown {short}\n")
    text = page.read_text()
    assert "lora/llama-3.2-3B-rank32" in text
    assert "<dt>Every cell</dt><dd>there is no record of a step</dd>" in text
    assert "0 cells.\n\nResults of others, in the page alone: 1. " in short.read_text()


@pytest.mark.full
def test_imported_results_stand_apart_and_move_no_figure(tmp_path):
    """A report with them says of its cells what it said without, to the byte."""
    for method, peak in (("dpo", 1 << 20), ("ppo", 2 << 20)):
        for record in make_cell_records([0.1, 0.2, 0.3], method=method, peak=peak):
            write_record(tmp_path / "run", record)
    plain, both = (tmp_path / f"{name}.html" for name in ("plain", "both"))
    write_report(load_folders([tmp_path / "run"]), plain, plain.with_suffix(".csv"))
    files = [written(tmp_path / "a.json", of_peft())]
    done = CliRunner().invoke(cli, ["import", *map(str, files), "--out", str(tmp_path / "theirs")])
    assert done.exit_code == 0, done.output
    assert "1 result of a.json: PEFT method comparison" in done.output
    write_report(load_folders([tmp_path]), both, both.with_suffix(".csv"))
    assert both.with_suffix(".csv").read_bytes() == plain.with_suffix(".csv").read_bytes()
    page = both.read_text()
    start = page.index('<section aria-labelledby="reported">')
    end = page.index("</section>", start)
    assert "lora/llama-3.2-3B-rank32" in page[start:end]
    assert "lora/llama-3.2-3B-rank32" not in page[:start] + page[end:]
    assert "Reported by others" in plain.read_text()
