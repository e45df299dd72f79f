"""Charts as SVG: told apart without colour, described, and independent of each other."""

import re
from types import SimpleNamespace

import pytest
from made_records import make_record

from alignmeter_reports.drawing.charts import Bar, Curve, Panel, log_log, stacked_bars
from alignmeter_reports.sections.phases import phase_chart

PARTS = {"weights": 4.0, "gradients": 2.0, "activations": 1.0}


def bars(*labels, parts=PARTS):
    made = [Bar(label=label, parts=parts) for label in labels]
    return stacked_bars(made, title=f"Bytes of {labels[0]}", unit="MiB")


def curves(count, length=3):
    made = [
        Curve(label=f"c{k}", points=[(2.0**x, 2.0**x * (k + 1)) for x in range(length)], colour=k)
        for k in range(count)
    ]
    return log_log([[Panel(title="time in s", curves=made)]], title="Time", x_label="T")


def ids(svg):
    return re.findall(r' id="([^"]+)"', svg)


def test_parts_of_a_bar_differ_without_colour():
    """The first part is plain; each other one has a pattern of its own, and an edge."""
    svg = bars("DPO")
    fills = re.findall(r"fill: (url\(#\w+\)|#\w+); stroke: #2b2f36", svg)
    assert len(set(fills)) >= len(PARTS)
    assert svg.count("<pattern") == len(PARTS) - 1


def test_curves_differ_by_their_markers():
    """Ticks have markers too, the same for any number of curves."""
    shapes = [len(set(re.findall(r'href="#(m\w+)"', curves(count)))) for count in (1, 2, 3)]
    assert shapes == [shapes[0], shapes[0] + 1, shapes[0] + 2]


@pytest.mark.parametrize("svg", [bars("DPO", "PPO"), curves(2)], ids=["bars", "curves"])
def test_each_chart_is_described_in_words(svg):
    (said,) = re.findall(r"<desc>(.*?)</desc>", svg)
    assert ("DPO: 7; PPO: 7" in said) or ("time in s, c1: 2 at 1 to 8 at 4" in said)


def test_names_of_a_megabyte_do_not_make_a_megabyte():
    assert len(bars("x" * 2**20)) < len(bars("x")) + 2_000


def test_two_charts_of_a_page_share_no_id_and_have_no_idle_one():
    one, other = bars("DPO"), bars("PPO")
    assert not set(ids(one)) & set(ids(other))
    for svg in (one, other):
        assert len(ids(svg)) == len(set(ids(svg)))
        assert all(f"#{name}" in svg for name in ids(svg))
    assert bars("DPO") == one


def test_a_part_of_no_size_takes_no_path():
    none = bars("DPO", parts={**PARTS, "nothing": 0.0})
    assert none.count("<path") <= bars("DPO").count("<path") + 1  # its key in the legend at most


def test_bars_name_what_they_differ_in():
    cells = [make_record(precision=name, seq_len=64).cell for name in ("fp32", "bf16")]
    rows = [SimpleNamespace(cell=cell, phases_s={"forward": 0.1}) for cell in cells]
    assert "llama full DPO bf16" in phase_chart(rows)
    assert "T=64" not in phase_chart(rows)
    assert "bf16" not in phase_chart(rows[:1])


def test_of_very_many_bars_the_first_are_drawn_and_the_chart_says_so():
    cell = make_record().cell
    rows = [SimpleNamespace(cell=cell, phases_s={"forward": 0.1}) for _ in range(200)]
    chart = phase_chart(rows)
    assert "the first 60 of 200 bars; the table has all" in chart
    assert chart.count(">llama full DPO<") == 60
