"""The first screen of the page: the delta's card, answers by device, cost, and nothing measured."""

import html
import re

import pytest
from made_cells import make_cell_records
from msgspec.structs import replace

from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import Loaded
from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason, Verdict
from alignmeter.terminal.summary import summary_parts
from alignmeter.terminal.tables import lines
from alignmeter.units import GIB
from alignmeter_reports import write_report

CLOSE = (1.0, 1.001, 0.999)
BAD = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="busy")])
PRICES = Prices(currency="EUR", per_hour={"NVIDIA H100 80GB HBM3": 3.6, "AMD Instinct MI300X": 1.8})


def words(text):
    text = html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("\N{MULTIPLICATION SIGN}", "x")
    return " ".join(text.split())


def section(page, name):
    return words(page[page.index(f'aria-labelledby="{name}"') :].partition("</section>")[0])


def cells(seconds, **axes):
    return make_cell_records([seconds * share for share in CLOSE], **axes)


def both(**axes):
    """DPO needs 6 GiB and 1 s a step, PPO 8 or 10 GiB and 2 s; half the time on the other one."""
    found = []
    for accelerator, share in (("cuda", 1.0), ("rocm", 0.5)):
        there = {"accelerator": accelerator, **axes}
        found += cells(share, peak=6 * GIB, **there)
        for topology, peak in (("shared", 8), ("separate", 10)):
            found += cells(2 * share, peak=peak * GIB, method="ppo", ppo_topology=topology, **there)
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer")
    loaded = Loaded(records=both(), refused=[])
    write_report(loaded, folder / "r.html", md=folder / "r.md", prices=PRICES)
    return (folder / "r.html").read_text(), html.unescape((folder / "r.md").read_text())


def test_the_delta_is_the_first_card_on_each_device_by_layout_and_stands_once(page):
    text = section(page[0], "answer")
    for device in ("NVIDIA H100 80GB HBM3", "AMD Instinct MI300X"):
        assert re.search(
            rf"{device} \(VRAM\) PPO sep.*, sequential DPO saves 40 % \(4 GiB of 10 GiB\) "
            r"PPO shared, sequential DPO saves 25 % \(2 GiB of 8 GiB\)",
            text,
        )
    assert text.index("DPO versus PPO: peak memory") < text.index("More answers, from pairs")
    card = text[text.index("More answers") : text.index("behind these sentences")]
    asked = card.partition("AMD Instinct MI300X versus")[0]
    assert "peak memory" not in asked  # the card above has it
    assert asked.count("step time 2.0x faster in both pairs") == 2
    picture = "Bytes at the peak of one step by owner, DPO versus PPO"
    assert page[0].count(f'aria-label="{picture}"') == 2  # wide, and for a telephone


def test_cost_stands_in_the_headline_and_in_the_answers(page):
    """256 tokens a step: 1 s at 3.6 an hour is 3.91 for a million, 0.5 s at 1.8 a quarter of it."""
    text = section(page[0], "answer")
    assert "NVIDIA H100 80GB HBM3: 3.91 EUR (DPO llama full) to 7.81 EUR" in text
    assert "AMD Instinct MI300X: 0.977 EUR" in text
    assert "cost per million trained tokens saves 75 % [75, 75]" not in text
    assert "cost per million trained tokens saves 75 % in all 3 pairs" in text
    assert "- cost per million trained tokens: saves 75 % in all 3 pairs" in page[1]


def test_an_invalid_time_carries_its_mark_into_cost_and_leaves_the_headline(tmp_path):
    records = [replace(r, validity={**r.validity, "time": BAD}) for r in cells(1.0, joules=360.0)]
    prices = Prices(currency="EUR", per_hour={"cpu": 3.6})
    write_report(Loaded(records=records, refused=[]), tmp_path / "r.html", prices=prices)
    text = (tmp_path / "r.html").read_text()
    assert "Cost per million trained tokens" not in section(text, "answer")
    row = section(text, "cost").split("no money because")[1]
    figures = re.findall(r"[\d.]+\*?", row.partition("llama")[2])
    hours, kwh, per_million, money, money_per_million = figures[-5:]
    assert kwh == "0.1*"
    assert [f[-1] for f in (hours, per_million, money, money_per_million)] == ["*"] * 4
    row = section(text, "matrix")
    assert "360 J*" in row


def test_nothing_measured_is_the_headline(tmp_path):
    reason = Reason(code=Code.ACCELERATOR_MISSING, text="no NVIDIA device answers")
    records = [replace(r, status="unsupported", reason=reason) for r in cells(1.0)]
    loaded = Loaded(records=records, refused=[])
    write_report(loaded, tmp_path / "r.html", md=tmp_path / "r.md")
    text = section((tmp_path / "r.html").read_text(), "answer")
    said = f"3 of 3 replicates: accelerator_missing, {Code.ACCELERATOR_MISSING.meaning}"
    assert "Nothing was measured." in text
    assert said in text
    assert "see alignmeter devices" in text
    shown = " ".join(" ".join(lines(summary_parts(records))).split())
    assert f"nothing was measured: {said}" in shown
    first = html.unescape((tmp_path / "r.md").read_text()).replace("&#95;", "_")
    assert first.index("### Nothing was measured") < first.index("### Not measured")
    assert said in first
