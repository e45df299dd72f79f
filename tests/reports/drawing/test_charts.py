"""Charts as SVG: told apart without colour, described, and independent of each other."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_records import make_record

from alignmeter.cells.naming import Naming
from alignmeter.records.record import OWNERS
from alignmeter.units import GIB, MIB
from alignmeter_reports.drawing.charts import Bar, Curve, Panel, log_log, stacked_bars
from alignmeter_reports.drawing.looks import looks
from alignmeter_reports.drawing.scales import BYTES, COUNT, JOULES, SECONDS
from alignmeter_reports.sections.phases import phase_chart

PARTS = {"policy weights": 4.0 * GIB, "gradients": 2.0 * GIB, "activations": 1.0 * GIB}
BLUE = "#1f77b4"
"""What the plotting library draws where nobody chose a colour."""


def bars(*labels, parts=PARTS):
    made = [Bar(label=label, parts=parts) for label in labels]
    return stacked_bars(made, title=f"Bytes of {labels[0]}", axis="at the peak", quantity=BYTES)


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
    assert svg.count("<pattern") == len(PARTS) - 1  # the first part is plain


def test_curves_differ_by_their_markers():
    """Ticks have markers too, the same for any number of curves."""
    shapes = [len(set(re.findall(r'href="#(m\w+)"', curves(count)))) for count in (1, 2, 3)]
    assert shapes == [shapes[0], shapes[0] + 1, shapes[0] + 2]


@pytest.mark.parametrize("svg", [bars("DPO", "PPO"), curves(2)], ids=["bars", "curves"])
def test_each_chart_is_described_in_words(svg):
    (said,) = re.findall(r"<desc>(.*?)</desc>", svg)
    assert ("DPO: 7 GiB; PPO: 7 GiB" in said) or ("time in s, c1: 2 at 1 to 8 at 4" in said)


def test_names_of_a_megabyte_do_not_make_a_megabyte():
    assert len(bars("x" * 2**20)) < len(bars("x")) + 3_000


def test_two_charts_of_a_page_share_no_id_and_have_no_idle_one():
    one, other = bars("DPO"), bars("PPO")
    assert not set(ids(one)) & set(ids(other))
    for svg in (one, other):
        assert len(ids(svg)) == len(set(ids(svg)))
        assert all(f"#{name}" in svg for name in ids(svg))
    assert bars("DPO") == one


def test_a_part_that_no_bar_has_is_not_in_the_legend():
    """Else it would stand there in a colour that no bar has."""
    none = bars("DPO", parts={**PARTS, "adapters": 0.0})
    assert none == bars("DPO")
    assert BLUE not in none
    assert "adapters" not in none


def test_a_phase_and_an_owner_look_the_same_in_every_chart():
    """Whatever else is in the chart, and in whatever order; names that nobody knows differ."""
    alone = looks(["rollout"])["rollout"]
    assert looks(["forward", "of_tomorrow", "rollout"])["rollout"] == alone
    strange = looks(["a", "b", "forward", "gradients"])
    assert len(set(strange.values())) == len(strange)
    every = looks([owner.replace("_", " ") for owner in OWNERS])
    assert len(set(every.values())) == len(OWNERS)


def test_axes_are_in_units_that_a_person_reads():
    """7 GiB, 17.5 s and 3.3 kJ: at the end of the bar, and on the axis."""

    def end(size, quantity):
        bar = Bar(label="DPO", parts={"forward": size})
        svg = stacked_bars([bar], title="t", axis="of a step", quantity=quantity)
        return re.findall(r">([^<>]+)</text>", svg)

    for size, quantity, text, unit in (
        (7 * GIB, BYTES, "7 GiB", "GiB"), (17.5, SECONDS, "17.5 s", "s"),
        (0.0175, SECONDS, "17.5 ms", "ms"), (3300.0, JOULES, "3.3 kJ", "kJ"),
    ):  # fmt: skip
        assert {text, f"of a step, {unit}"} <= set(end(size, quantity))


@pytest.mark.parametrize(
    ("quantity", "low", "high", "shown"),
    [
        (BYTES, 10 * MIB, 900 * MIB, ["16 MiB", "32 MiB", "64 MiB", "128 MiB", "256 MiB",
                                      "512 MiB"]),
        (BYTES, 1.1 * GIB, 2.9 * GIB, ["1.5 GiB", "2 GiB", "2.5 GiB"]),
        (SECONDS, 0.03, 4.0, ["50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s"]),
        (COUNT, 800.0, 30000.0, ["1000", "2000", "5000", "10k", "20k"]),
    ],
    ids=["powers of two", "a short axis", "seconds", "counts"],
)  # fmt: skip
def test_ticks_of_a_logarithmic_axis_have_their_unit(quantity, low, high, shown):
    assert [quantity.text(tick) for tick in quantity.ticks(low, high)] == shown


def test_a_long_name_is_whole_and_goes_on_in_a_second_line():
    name = "PPO hybrid 1.4b QLoRA, T 32768, B 64, separate, sequential, stock kernels"
    svg = bars(name)
    lines = [
        line for line in re.findall(r">([^<>]+)</text>", svg) if len(line) > 2 and line in name
    ]
    assert len(lines) > 1
    assert " ".join(lines) == name


def test_intervals_are_drawn():
    """Of 8 to 12 ms about 10 ms: a line, and the figure stands behind it."""
    without = Bar(label="DPO", parts={"forward": 0.01})
    with_one = Bar(label="DPO", parts={"forward": 0.01}, interval=(0.008, 0.012))
    bare, drawn = (
        stacked_bars([bar], title="t", axis="time", quantity=SECONDS) for bar in (without, with_one)
    )
    assert drawn.count("<path") > bare.count("<path")
    curve = Curve(label="c", points=[(1.0, 2.0), (2.0, 4.0)], colour=0)
    held = replace(curve, intervals={1.0: (1.5, 2.5)})
    plain, barred = (
        log_log([[Panel(title="p", curves=[one])]], title="t", x_label="T") for one in (curve, held)
    )
    assert barred.count("<path") + barred.count("<use") > plain.count("<path") + plain.count("<use")


def test_nothing_is_cut_at_an_edge():
    """Every text and mark lies within the view box, by the plotting library's own measure."""
    svg = bars(
        "PPO hybrid 1.4b QLoRA, T 32768, B 64", "DPO", parts=dict.fromkeys(PARTS, 900.0 * GIB)
    )
    width, height = (float(v) for v in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    places = re.findall(r'<text[^>]*? x="([-\d.]+)" y="([-\d.]+)"', svg)
    assert places
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)


def rows(*cells):
    return [
        SimpleNamespace(cell=c, name=names.of(c), where=c.accelerator, anchor=f"{c.id}{k}",
                        phases_s={"forward": 0.1}, time_s=None, invalid={})
        for names in [Naming(cells)]
        for k, c in enumerate(cells)
    ]  # fmt: skip


def test_bars_name_what_they_differ_in():
    cells = [make_record(precision=name, seq_len=64).cell for name in ("fp32", "bf16")]
    chart = phase_chart(rows(*cells))
    assert ">DPO llama full, bf16<" in chart
    assert ">DPO llama full<" in chart
    assert "T 64" not in chart
    assert "bf16" not in phase_chart(rows(cells[0]))


def test_of_very_many_bars_the_first_are_drawn_and_the_chart_says_so():
    chart = phase_chart(rows(*[make_record().cell] * 200))
    assert "the first 60 of 200 bars; the table has all" in chart
    assert chart.count(">DPO llama full<") == 60
