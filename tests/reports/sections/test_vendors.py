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
from alignmeter.analysis.prices import Prices
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


def rows(table):
    """Per row the figures of each device that has the cell."""
    return [[figures for figures in row.figures if figures is not None] for row in table.rows]


def test_the_same_cell_with_the_ratio_and_its_interval():
    table = view(both()).fixed
    (found,) = rows(table)
    assert [device.name for device in table.devices] == [A_DEVICE["cuda"], A_DEVICE["rocm"]]
    assert [f.row.cell.accelerator for f in found] == ["cuda", "rocm"]
    assert [(f.ratio, f.interval) for f in found] == [("1", ""), ("1.200", "1.200 to 1.200")]


def test_below_three_replicates_there_is_no_interval():
    ((_, second),) = rows(view(both((1.0,), (1.2,))).fixed)
    assert (second.ratio, second.interval) == ("1.200", "no interval below 3 replicates")


@pytest.mark.parametrize("axis", [{"precision": "bf16"}, {"kernels": "stock"}, {"lane": "tuned"}])
def test_unlike_cells_are_not_beside_each_other(axis):
    records = make_cell_records([1.0], **CUDA) + make_cell_records([1.0], **ROCM, **axis)
    assert view(records).fixed is None


def test_one_device_has_nothing_beside_it():
    assert view(make_cell_records([1.0], **CUDA)).fixed is None


def on(device, seconds=1.0, *, threads=None, **axes):
    return [
        msgspec.structs.replace(
            record, provenance=msgspec.structs.replace(record.provenance, threads=threads)
        )
        for record in make_cell_records([seconds] * 3, device=device, **axes)
    ]


def test_four_devices_have_a_group_of_columns_each():
    """A cell that one of them lacks leaves a gap there; the next one is then what ratios are to."""
    found = [("cuda", "A", 1.0), ("cuda", "B", 2.0), ("rocm", "C", 3.0), ("xpu", "D", 4.0)]
    records = [r for kind, name, s in found for r in on(name, s, accelerator=kind)]
    records += [r for kind, name, s in found[1:] for r in on(name, s, accelerator=kind, batch=4)]
    table = view(records).fixed
    assert [device.name for device in table.devices] == ["A", "B", "C", "D"]
    by_name = {row.name: row.figures for row in table.rows}
    assert sorted(by_name) == ["DPO llama full, B 2", "DPO llama full, B 4"]
    whole, part = by_name["DPO llama full, B 2"], by_name["DPO llama full, B 4"]
    assert [f.ratio for f in whole] == ["1", "2.000", "3.000", "4.000"]
    assert part[0] is None
    assert [f.ratio for f in part[1:]] == ["1", "1.500", "2.000"]
    assert "ratio" not in {column.key for column in table.devices[0].columns}
    assert all("ratio" in {c.key for c in device.columns} for device in table.devices[1:])


def test_one_cpu_with_other_threads_is_another_device():
    records = on("EPYC", threads=1) + on("EPYC", 0.5, threads=2)
    table = view(records).fixed
    assert [(device.name, device.facts) for device in table.devices] == [
        ("EPYC", "1 thread"), ("EPYC", "2 threads"),
    ]  # fmt: skip
    assert [f.ratio for f in rows(table)[0]] == ["1", "0.500"]


def test_cost_stands_in_the_table_where_prices_were_given():
    """Of 256 tokens in 1 s at 3.6 EUR an hour: 3.91 EUR a million. The other device has none."""
    prices = Prices(currency="EUR", per_hour={A_DEVICE["cuda"]: 3.6})
    records = both()
    table = vendor_view(records, groups(records), [], prices).fixed
    first, second = rows(table)[0]
    assert first.per_million == pytest.approx(0.001 / 256e-6)
    assert second.per_million is None
    assert "EUR per 1M tokens" in [column.head for column in table.devices[0].columns]
    assert "money" not in {c.key for d in view(records).fixed.devices for c in d.columns}


def test_each_device_at_its_best_batch():
    """NVIDIA is best at batch 4 (256 / 0.5 s), AMD at 2 (256 / 1.2 s): 213.3 / 512 tokens per s."""
    records = [
        *both(),
        *make_cell_records([0.5] * 3, batch=4, **CUDA),
        *make_cell_records([2.0] * 3, batch=4, **ROCM),
    ]
    (found,) = rows(view(records).best)
    assert [figures.batch for figures in found] == [4, 2]
    assert found[1].ratio == "0.417"


def test_the_largest_batch_is_the_searchs():
    place = make_cell_records([1.0], **CUDA)[0].provenance
    tries = [make_try(45, peak_mib=254), make_try(46, "oom")]
    axes = {"accelerator": "cuda", "batch": 3}
    own = make_point(axes=axes, tries=tries, provenance=place, limit_given=False)
    given = make_point(axes=axes, tries=tries, provenance=place)
    (found,) = rows(view(both(), [own]).fixed)
    assert [figures.largest for figures in found] == [45, None]
    (found,) = rows(view(both(), [given]).fixed)
    assert found[0].largest is None


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
    assert "SXM" in vendors


class Buttons(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.commands = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "button" and found["data-copy"].startswith("alignmeter "):
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


@pytest.mark.exhaustive
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
