"""`alignmeter plan --suggest` and `--prices`, and that progress is never glued to a result."""

import io
import json

import pytest
from click.testing import CliRunner
from made_plans import made_plan

from alignmeter.cli import cli, main, progress
from alignmeter.planner import suggest
from alignmeter.planner.trace import NotPlannedError
from alignmeter.records.prediction import decode_predictions
from alignmeter.units import GIB

ONE = ("--size", "8b", "--method", "dpo", "--architecture", "llama", "--peft", "full")
PRICES = """\
schema = 1
currency = "EUR"
[per_hour]
MI300X = 2.4
B200 = 5.5
"""


def peak(cell):
    """GiB: 150 at T 1024, of which 0.01 a token; less by what each lever saves."""
    if cell.checkpointing == "off":
        raise NotPlannedError("a reason")
    gib = 139.76 + cell.seq_len / 100
    gib -= {"full": 0, "lora": 133, "qlora": 143}[cell.peft]
    gib -= {"adamw": 0, "adafactor": 56}.get(cell.optimizer, 10)
    return made_plan(round(gib * GIB), cell)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Plans made up in place of traces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("alignmeter.planner.plan_peak", peak)
    monkeypatch.setattr(suggest, "plan_peak", peak)
    (tmp_path / "prices.toml").write_text(PRICES)
    return str(tmp_path / "prices.toml")


def suggested(*arguments):
    done = CliRunner().invoke(cli, ["plan", *ONE, "--suggest", *arguments])
    assert done.exit_code == 0, done.output
    return done


def test_three_answers_in_eight_lines_of_80_columns(made):
    """150 x 1.03 + 1 = 155.5 GiB: an H200 has 140.4, and 64 MiB of them are cuBLAS's.

    An MI300X has 192 and 408 MiB less of hipBLAS's.
    """
    lines = suggested("--prices", made).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (devices,) = [at for at, line in enumerate(lines) if line.startswith("  devices  ")]
    assert devices <= 8
    boxes = " ".join(" ".join(lines[devices:]).split())
    assert boxes.startswith("devices 2 x MI300X at 4.8 EUR (150 GiB each), 4 x MI300X at 9.6 EUR")
    assert boxes.endswith("16 x MI300X at 38.4 EUR (150 GiB each)")
    lines = lines[:devices]
    assert lines[0].startswith("dpo-llama-8b-full-cuda-")
    assert lines[1] == "  cheapest MI300X at 2.4 EUR an hour: peak 150 GiB, 36.1 GiB spare"
    # (191.98 - 1) / 1.03 - 0.4 - 139.76 = 45.26 GiB at 0.01 a token: 4526, and 70 x 64 are 4480.
    assert lines[2] == "  longest  4480 tokens on MI300X"
    assert lines[3].startswith("  change   for H200-SXM, 15.2 GiB too small: peft=qlora saves 143 ")
    text = " ".join(" ".join(lines[3:]).split())
    assert "peft=lora saves 133 GiB and fits, optimizer=adafactor saves 56 GiB and fits, " in text
    assert "optimizer=adamw-8bit saves 10 GiB, optimizer=paged-adamw-8bit saves 10 GiB" in text
    assert "precision" not in text  # changes nothing here


def test_boxes_that_are_asked_for_are_answered_for(made):
    """79.6 GiB lack 75.9; what saves most comes first, and one alone may not be enough."""
    done = suggested("--for", "H100,MI300X,B300", "--json")
    document = json.loads(done.stdout)
    found = document["suggestion"]
    assert found["devices"] == 1
    assert (found["chip"], found["per_hour"], found["currency"]) == ("MI300X", None, None)
    assert list(found["longest"]) == ["H100-SXM", "H100-PCIe", "H100-NVL", "MI300X", "B300"]
    assert found["longest"]["H100-SXM"] == 0
    assert found["longest"]["MI300X"] == 4480
    assert found["target"] == "H100-NVL"
    saved = [lever["saves_bytes"] for lever in found["levers"]]
    assert saved == sorted(saved, reverse=True)
    fitting = [(lever["value"], lever["fits"]) for lever in found["levers"]]
    # 150 - 56 = 94: x 1.03 + 1 = 97.8 GiB are too many for 93.6.
    assert fitting[:3] == [("qlora", True), ("lora", True), ("adafactor", False)]
    boxes = [(box["devices"], box["chip"], box["cell"]["batch"]) for box in found["boxes"]]
    assert boxes == [(size, "MI300X", size) for size in (2, 4, 8, 16)]
    assert {box["cell"]["parallel"] for box in found["boxes"]} == {"fsdp2"}
    assert len(decode_predictions(done.stdout.encode(), "plan.json")) == 1


def test_what_fits_nowhere_and_what_fits_everywhere_say_so(made, monkeypatch):
    text = suggested("--for", "H100-SXM").stdout
    assert "  smallest none: peak 150 GiB, 75.9 GiB too much for H100-SXM\n" in text
    assert "  devices  2 x none (150 GiB each), 4 x none (150 GiB each)," in text
    assert "  longest  none on H100-SXM\n" in text

    def small(cell):
        return made_plan(GIB, cell)

    monkeypatch.setattr("alignmeter.planner.plan_peak", small)
    monkeypatch.setattr(suggest, "plan_peak", small)
    text = suggested("--for", "B300").stdout
    assert "  smallest B300: peak 1 GiB, 266 GiB spare\n" in text
    assert "  change   nothing: it fits every chip\n" in text


def test_a_lever_or_a_length_without_a_plan_is_told(made, monkeypatch):
    """Checkpointing is on in the matrix; here it is what cannot be planned with 2048 tokens."""

    def some(cell):
        if cell.seq_len > 1024 or cell.peft == "lora":
            raise NotPlannedError("too few rows")
        return peak(cell)

    monkeypatch.setattr(suggest, "plan_peak", some)
    done = suggested()
    assert "peft=lora: not planned: too few rows\n" in done.stderr
    assert "  longest  not planned (too few rows) on MI300X" in done.stdout.replace(
        "B200", "MI300X"
    )


def test_more_than_one_cell_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["alignmeter", "plan", "--size", "tiny", "--suggest"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: --suggest is for one cell, and these are 36; name one --method")


def test_a_price_of_no_chip_is_named_with_the_nearest(made, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('schema = 1\ncurrency = "EUR"\n[per_hour]\nH100SXM = 2.8\nMI300X = 2.0\n')
    said = suggested("--prices", str(path)).stderr
    assert "no device here and no chip is called 'H100SXM'; nearest of" in said
    assert "H100-SXM" in said.partition("nearest of")[2]
    assert "MI300X'" not in said


def test_a_table_per_model_has_prices_or_what_the_largest_lacks(made, monkeypatch):
    """Two architectures are two models; full needs 150 GiB, lora 17, on chips of 80 and 192."""
    monkeypatch.setattr("alignmeter.planner.plan_cell", peak)
    command = ["plan", "--size", "8b", "--architecture", "llama,mamba", "--peft", "full,lora",
               "--method", "dpo,sft", "--prices", made, "--for", "H100-SXM,MI300X"]  # fmt: skip
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("llama 8b")
    assert lines.index("mamba 8b") > at
    assert lines[at + 1].split() == ["cell", "peak", "fits", "cheapest", "that", "fits", "EUR",
                                     "an", "hour"]  # fmt: skip
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in lines[at + 2 : at + 6]}
    assert rows["dpo", "full"] == ["150", "GiB", "1", "of", "2", "MI300X", "2.40"]
    assert rows["sft", "lora"] == ["17", "GiB", "2", "of", "2", "MI300X", "2.40"]
    done = CliRunner().invoke(cli, [*command[:-4], "--for", "H100-SXM"])
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("dpo full 150 GiB")
              or line.split()[:2] == ["dpo", "full"]][:1]  # fmt: skip
    assert row.split()[-4:] == ["none:", "H100-SXM", "-75.9", "GiB"]


@pytest.mark.parametrize(
    ("accelerator", "architecture", "words"),
    [
        ("cuda", "llama", "not installed; pip install 'alignmeter[vendor-kernels]'"),
        ("cuda", "mamba", "not installed; pip install 'alignmeter[vendor-kernels]'"),
        ("cpu", "llama", "have no kernels for cpu; use kernels = custom or stock"),
    ],
)
def test_vendors_kernels_without_their_packages_are_one_sentence(
    monkeypatch, accelerator, architecture, words
):
    monkeypatch.setattr("alignmeter.architectures.vendor.find_spec", lambda _: None)
    done = CliRunner().invoke(
        cli,
        ["plan", "--size", "tiny", "--method", "sft", "--peft", "lora", "--kernels", "vendor",
         "--accelerator", accelerator, "--architecture", architecture],
    )  # fmt: skip
    assert done.exit_code == 3
    first, last = done.stderr.splitlines()
    assert first.endswith(words)
    assert "cannot be made without data" not in first
    assert last == "Nothing could be planned."


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_gone_where_a_line_begins(monkeypatch):
    """On a terminal, whose bar is on the line where the next sentence would start."""
    stream = _Terminal()
    monkeypatch.setattr(progress, "user_stream", lambda: stream)
    monkeypatch.setattr("alignmeter.streams.user_stream", lambda: stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.counted("planned", 2) as count:
        count()
        count.tell("a result")
        count()
    before, after = stream.getvalue().split("a result\n")
    assert "planned" in before
    assert "1/2" in before
    assert before.endswith("\x1b[2K")  # erases the line, after a return to its start
    assert "2/2" in after
