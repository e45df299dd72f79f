"""A small fixed set of records and the exact figures of HTML, CSV, Parquet and Markdown.

Of a policy of 2 GiB, so of at most 1.07 billion parameters, which claims take for large enough.
DPO: 3 GiB, 100 ms, 2 J. PPO: 4 GiB, 250 ms, 8 J. So DPO saves 1 GiB = 25.0 % of PPO's peak; its
step takes 0.40 times PPO's and a quarter of the energy. 256 tokens a step: 2560 and 1024 per s, and
7.8125 and 31.25 J per 1000 tokens. 1000 steps: 0.02778 and 0.06944 h, 0.04167 h saved. All three
replicates are equal, so each interval has no width.
"""

import csv
import html
import io
import re
import tomllib
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner
from made_cells import make_cell_records

from alignmeter.analysis.claims import claims
from alignmeter.analysis.compare.markdown import MARKDOWN_LIMIT_BYTES
from alignmeter.cli import cli
from alignmeter.records.folder import Loaded, write_record
from alignmeter.records.record import Reason
from alignmeter.units import GIB
from alignmeter_reports import write_report
from alignmeter_reports.columns import columns_markdown
from alignmeter_reports.table import COLUMNS

ROOT = Path(__file__).parents[2]
CUDA = {"accelerator": "cuda"}


def records():
    axes = {"ledger": {"policy_weights": 2 * GIB}, **CUDA}
    return make_cell_records([0.1] * 3, peak=3 * GIB, joules=2.0, **axes) + make_cell_records(
        [0.25] * 3, peak=4 * GIB, joules=8.0, method="ppo", **axes
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("golden")
    write_report(
        Loaded(records=records(), refused=[]), tmp_path / "r.html", tmp_path / "r.csv",
        md=tmp_path / "r.md", parquet=tmp_path / "r.parquet",
    )  # fmt: skip
    return tmp_path


def words(text):
    """Its text, with plain dashes and times signs."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    text = text.replace("\N{EN DASH}", "-").replace("\N{MULTIPLICATION SIGN}", "x")
    return " ".join(text.split())


def section(files, name):
    text = (files / "r.html").read_text()
    return words(text[text.index(f'aria-labelledby="{name}"') :].partition("</section>")[0])


def test_the_first_screen(files):
    text = section(files, "answer")
    saved = "DPO saves 25 % (1 GiB of 4 GiB)"
    assert f"NVIDIA H100 80GB HBM3 (VRAM) PPO separate, sequential {saved}" in text
    assert (
        "DPO versus PPO NVIDIA H100 80GB HBM3, VRAM, 1 pair step time 2.5x faster "
        "energy per step saves 75 %"
    ) in text
    assert "T 64, B 2 NVIDIA H100 80GB HBM3 saves 25 % 2.5x faster saves 75 %" in text
    assert text.count("saves 25 %") == 2  # the card, and the pair behind it


def test_the_claims(files):
    text = section(files, "claims")
    assert "DPO needs less VRAM than PPO supported 25.0 % 1 for it" in text
    assert "DPO needs about 30 % less VRAM than PPO supported 25.0 % 1 for it" in text
    assert "A DPO step takes less time than a PPO step supported 2.5x faster 1 for it" in text
    assert "A DPO step takes less energy than a PPO step supported saves 75 % 1 for it" in text
    assert text.count("not measured -") == len(claims()) - 4  # all but these


def test_the_matrix(files):
    text = section(files, "matrix")
    dpo, ppo = (
        text.split(f" {record.cell.id[-8:]} copy ")[1] for record in (records()[0], records()[3])
    )
    assert dpo.startswith("ok x3 100 ms 100 to 100 ms 3 GiB 2560 2 J 7.81 J unchecked")
    assert ppo.startswith("ok x3 250 ms 250 to 250 ms 4 GiB 1024 8 J 31.2 J unchecked")
    assert "All: tiny, T 64, B 2, synthetic. Device: NVIDIA H100 80GB HBM3." in text
    assert "DPO llama full" in text
    assert "PPO llama full , separate , sequential" in text
    assert (
        "No cell has a figure for: plan, reserved, generated tokens/s, MFU, share of the bound."
        in text
    )


def test_how_much_of_its_bound_a_step_reached_stands_beside_mfu(tmp_path):
    """0.2 and 0.3 of a step's time: the geometric mean, 0.245."""
    found = [
        msgspec.structs.replace(
            record,
            throughput=msgspec.structs.replace(
                record.throughput, mfu=0.125, bound_s=0.1 * share, bound_share=share
            ),
        )
        for record, share in zip(records(), (0.2, 0.3), strict=False)
    ]
    write_report(Loaded(records=found, refused=[]), tmp_path / "r.html", tmp_path / "r.csv")
    text = section(tmp_path, "matrix")
    assert "energy per step MFU share of the bound energy per 1000 tokens" in text
    assert " 2560 2 J 12.5 % 24.5 % 7.81 J" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["bound_share"] for row in rows] == ["0.2", "0.3"]
    assert [float(row["bound_s"]) for row in rows] == pytest.approx([0.02, 0.03])


def test_the_cost(files):
    text = section(files, "cost")
    assert "2.5x faster 0.0417" in text
    assert "0.0278 0.000556 0.109" in text
    assert "0.0694 0.00222 0.271" in text


def test_the_csv(files):
    rows = list(csv.DictReader(io.StringIO((files / "r.csv").read_text())))
    assert [row["step_median_s"] for row in rows] == ["0.1"] * 3 + ["0.25"] * 3
    assert [row["allocated_peak_bytes"] for row in rows] == ["3221225472"] * 3 + ["4294967296"] * 3
    assert {row["energy_per_step_j"] for row in rows[:3]} == {"2.0"}
    (delta,) = csv.DictReader(io.StringIO((files / "r.delta.csv").read_text()))
    assert (delta["delta_bytes"], delta["saved_percent"]) == ("1073741824", "25.0")


def test_the_parquet_file_is_the_csv_with_types_and_steps(files):
    table = pd.read_parquet(files / "r.parquet")
    assert list(table) == [*COLUMNS, "step_s"]
    assert table["allocated_peak_bytes"].tolist() == [3221225472] * 3 + [4294967296] * 3
    assert table["reserved_peak_bytes"].isna().all()
    assert [list(steps) for steps in table["step_s"]] == [[0.1] * 3] * 3 + [[0.25] * 3] * 3


def test_the_markdown(files):
    text = html.unescape((files / "r.md").read_text())
    assert "| VRAM | separate, sequential | 3 GiB | 4 GiB | 25.0 % |" in text.replace(
        "NVIDIA H100 80GB HBM3, ", ""
    )
    assert "| DPO needs less VRAM than PPO | supported | 25.0 % | 1 for it |" in text


def test_the_markdown_has_the_worst_first_and_a_limit(tmp_path):
    reason = Reason(code="exception", text="x" * 3000)
    bad = [
        record
        for batch in range(1, 300)
        for record in make_cell_records([0.1], batch=batch, seq_len=8)
    ]
    failed = [msgspec.structs.replace(r, status="crashed", reason=reason) for r in bad]
    refused = [f"{'y' * 3000}{n}" for n in range(2000)]
    write_report(
        Loaded(records=[*records(), *failed], refused=refused), tmp_path / "r.html",
        md=tmp_path / "r.md",
    )  # fmt: skip
    text = (tmp_path / "r.md").read_text()
    assert len(text.encode()) <= MARKDOWN_LIMIT_BYTES
    heads = [text.index(f"### {name}") for name in ("Not measured", "DPO versus PPO", "Claims")]
    assert heads == sorted(heads)
    assert "more found no room here" in text


def test_the_data_dictionary_is_what_the_writer_writes():
    """If this fails: python -m alignmeter_reports.columns > docs/report-columns.md."""
    assert (ROOT / "docs" / "report-columns.md").read_text() == columns_markdown()


def test_the_command_line_writes_all_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, seconds in (("base", 0.1), ("new", 0.2)):
        for record in make_cell_records([seconds] * 3, peak=3 * GIB, **CUDA):
            write_record(tmp_path / folder, record)
    (tmp_path / "prices.toml").write_text(
        'schema = 1\ncurrency = "EUR"\n[per_hour]\nH100-SXM = 9\n'
    )
    done = CliRunner().invoke(
        cli,
        ["report", "new", "--baseline", "base", "--prices", "prices.toml", "--title", "A < B",
         "--md", "r.md", "--csv", "r.csv", "--parquet", "r.parquet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    assert {p.name for p in tmp_path.glob("r*")} == {
        "r.md", "r.csv", "r.delta.csv", "r.parquet", "report.html",
    }  # fmt: skip
    text = (tmp_path / "report.html").read_text()
    assert "<title>A &lt; B</title>" in text
    page = words(text)
    assert "1 cell compared, 3 replicates a side" in page
    assert "regressed +100.0 %" in page
    assert "time regressed +100.0 % [+100.0, +100.0]" in page
    assert "EUR per 1000 steps" in page
    assert tomllib.loads((tmp_path / "prices.toml").read_text())["per_hour"] == {"H100-SXM": 9}


def test_a_baseline_of_other_cells_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "base", make_cell_records([0.1], batch=7)[0])
    write_record(tmp_path / "new", make_cell_records([0.1])[0])
    done = CliRunner().invoke(cli, ["report", "new", "--baseline", "base"])
    assert done.exit_code != 0
    assert "nothing to compare" in str(done.exception)
