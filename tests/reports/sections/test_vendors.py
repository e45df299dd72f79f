"""One cell on two devices, side by side, and the commands that repeat cells."""

import html
import re
import shlex
from html.parser import HTMLParser

import msgspec
import pytest
from click.testing import CliRunner
from made_capacity import make_point, make_try
from made_cells import A_DEVICE, make_cell_records
from made_records import make_record

from alignmeter.analysis.likeness import groups
from alignmeter.cells.axes import AXES
from alignmeter.cli import cli
from alignmeter.records.folder import Loaded, load_folders
from alignmeter.records.record import Signal
from alignmeter_reports import write_report
from alignmeter_reports.sections.command import command_of
from alignmeter_reports.sections.vendors import vendor_view

CUDA, ROCM = {"accelerator": "cuda"}, {"accelerator": "rocm"}


def view(records, points=()):
    return vendor_view(records, groups(records), points)


def both(nvidia=(1.0, 1.0, 1.0), amd=(1.2, 1.2, 1.2), **axes):
    return make_cell_records(nvidia, **CUDA, **axes) + make_cell_records(amd, **ROCM, **axes)


def test_the_same_cell_with_the_ratio_and_its_interval():
    (cell,) = view(both()).fixed
    first, second = cell.rows
    assert [row.row.cell.accelerator for row in cell.rows] == ["cuda", "rocm"]
    assert (first.ratio, second.ratio) == ("1", "1.200 (1.200 to 1.200)")


def test_below_three_replicates_there_is_no_interval():
    (cell,) = view(both((1.0,), (1.2,))).fixed
    assert cell.rows[1].ratio == "1.200, no interval below 3 replicates"


@pytest.mark.parametrize("axis", [{"precision": "bf16"}, {"kernels": "stock"}, {"lane": "tuned"}])
def test_unlike_cells_are_not_beside_each_other(axis):
    records = make_cell_records([1.0], **CUDA) + make_cell_records([1.0], **ROCM, **axis)
    assert view(records).fixed == []


def test_one_device_has_nothing_beside_it():
    assert view(make_cell_records([1.0], **CUDA)).fixed == []


def test_each_device_at_its_best_batch():
    """NVIDIA is best at batch 4 (256 / 0.5 s), AMD at 2 (256 / 1.2 s): 213.3 / 512 tokens per s."""
    records = [
        *both(),
        *make_cell_records([0.5] * 3, batch=4, **CUDA),
        *make_cell_records([2.0] * 3, batch=4, **ROCM),
    ]
    (cell,) = view(records).best
    assert [row.batch for row in cell.rows] == [4, 2]
    assert cell.rows[1].ratio.startswith("0.417 ")


def test_the_largest_batch_is_the_searchs():
    place = make_cell_records([1.0], **CUDA)[0].provenance
    tries = [make_try(45, peak_mib=254), make_try(46, "oom")]
    axes = {"accelerator": "cuda", "batch": 3}
    own = make_point(axes=axes, tries=tries, provenance=place, limit_given=False)
    given = make_point(axes=axes, tries=tries, provenance=place)
    (cell,) = view(both(), [own]).fixed
    assert [row.largest for row in cell.rows] == [45, None]
    (cell,) = view(both(), [given]).fixed
    assert cell.rows[0].largest is None


def test_losses_that_differ_are_in_the_row(tmp_path):
    def with_loss(record, loss):
        signal = Signal(name="loss", measured=[loss], reference=[0.7], band=0.01)
        return msgspec.structs.replace(
            record, numerics=msgspec.structs.replace(record.numerics, agreement=[signal])
        )

    nvidia, amd = (make_cell_records([1.0], **axes)[0] for axes in (CUDA, ROCM))
    loaded = Loaded(records=[with_loss(nvidia, 0.7), with_loss(amd, 0.9)], refused=[])
    write_report(loaded, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    vendors = text[text.index('id="vendors"') :].partition("</section>")[0]
    assert vendors.count('class="a-differ"') == 2
    assert A_DEVICE["rocm"] in vendors
    assert ">SXM<" in vendors


class Buttons(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.commands = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "button" and found.get("class") == "copy":
            self.commands.append(found["data-copy"])


@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"method": "ppo", "peft": "lora", "lora_rank": 8, "ppo_backward": "joint", "batch": 1},
        {"architecture": "mamba", "seq_len": 32, "prompt_len": 8, "checkpointing": "on"},
        {"kernels": "stock", "lane": "a b's", "accelerator": "cuda", "precision": "bf16"},
    ],
)
def test_the_command_names_exactly_its_cell(axes):
    from alignmeter.session.resolve import resolve_cell

    record = make_record(**axes)
    command = command_of(record)
    if "'" in record.cell.lane:
        assert command is None
        return
    program, name, *words = shlex.split(command)
    assert (program, name) == ("alignmeter", "cell")
    given = cli.commands["cell"].make_context("cell", words).params
    named = {
        n: int(given[n]) if AXES[n].integer else given[n] for n in AXES if given[n] is not None
    }
    assert resolve_cell(named).cell == record.cell


@pytest.mark.full
def test_the_pages_command_runs_and_makes_the_same_cell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = make_record(method="sft", seq_len=8, batch=1)
    write_report(Loaded(records=[record], refused=[]), tmp_path / "r.html")
    (command,) = Buttons((tmp_path / "r.html").read_text()).commands
    done = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--sample-hz", "0"])
    assert done.exit_code == 0, done.output
    (again,) = load_folders([tmp_path / "results"]).records
    assert again.cell == record.cell
    assert len(again.timing.step_s) == len(record.timing.step_s)


@pytest.mark.parametrize(
    "lane", ["a\nrm -rf x", "$(reboot)", "-x", "`id`", "a;b", "x,y", "\x1b[2J"]
)
def test_text_that_no_command_takes_gets_no_command(lane, tmp_path):
    record = make_record()
    record = msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, lane=lane))
    assert command_of(record) is None
    write_report(Loaded(records=[record], refused=[]), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert Buttons(text).commands == []
    assert "none: an axis holds text that no command takes" in html.unescape(text)
    assert re.search(r'id="cell-[A-Za-z0-9.-]+"', text)
