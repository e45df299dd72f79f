"""How much fits, on the page, from files as `suites/bench_capacity.py` stores them."""

import html
import re

import msgspec
import pytest
from made_capacity import make_point, make_try
from made_records import make_record
from own_script import without_own_script

from alignmeter import __version__
from alignmeter.records.capacity import SCHEMA_VERSION, Capacity, encode_capacity
from alignmeter.records.folder import CAPACITY_FILE, Loaded, load_folders, write_bytes, write_record
from alignmeter.records.record import Provenance
from alignmeter.units import GIB
from alignmeter_reports import write_report
from alignmeter_reports.sections.capacity import capacity_views

DASH = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}$\\frac$"


@pytest.fixture
def page_of(tmp_path):
    """The page over points, without any record."""

    def page(*points):
        write_report(Loaded(records=[], refused=[], capacity=list(points)), tmp_path / "r.html")
        return (tmp_path / "r.html").read_text()

    return page


def section(page):
    return page.partition('id="capacity"')[2].partition("</section>")[0]


def words(text):
    text = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def rows_of(page):
    found = re.findall(r"<tr>(.*?)</tr>", section(page).partition("<tbody>")[2], re.DOTALL)
    return [[words(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in found]


def longest(tokens=1408, **changes):
    tries = (make_try(tokens, peak_mib=250), make_try(tokens + 64, "oom", text="no memory"))
    return make_point(axis="seq_len", tries=tries, planned=tokens, **changes)


def test_a_row_shows_the_search_and_its_plan(page_of):
    nothing = make_point(
        axes={"method": "ppo"}, planned=0, tries=(make_try(1, "oom"),), reason="nothing fits: 1",
    )  # fmt: skip
    unplanned = make_point(axes={"peft": "lora"}, planned=None, plan_text="RuntimeError: no values")
    page = page_of(nothing, longest(), make_point(planned=54), unplanned)
    assert rows_of(page) == [
        ["dpo-llama-tiny-full-cpu-synthetic", "batch at T = 64", "45", "5760", "254 MiB",
         "46 needs 259 MiB", "54", "+20.0 %", "2", ""],
        ["dpo-llama-tiny-full-cpu-synthetic", "tokens at B = 2", "1408", "5632", "250 MiB",
         "1472: oom", "1408", "exact", "2", ""],
        ["dpo-llama-tiny-lora-cpu-synthetic", "batch at T = 64", "45", "5760", "254 MiB",
         "46 needs 259 MiB", DASH, DASH, "2", "no plan: RuntimeError: no values"],
        ["ppo-llama-tiny-full-cpu-synthetic", "batch at T = 64", "none", DASH, DASH,
         "1: oom", "0", DASH, "1", "nothing fits: 1"],
    ]  # fmt: skip
    text = words(section(page))
    assert "EPYC, tiny-cpu-synthetic, limit 256 MiB, given" in text
    assert "4 searches, 1 to 2 tries (median 2) each, the plan was exact in 1 of 2" in text
    assert "The limit is one on tensor storage on the CPU, not on VRAM." in text


def test_a_page_of_searches_alone_says_where_and_when(page_of):
    page = page_of(make_point())
    head = words(page.partition("<header>")[2].partition("</header>")[0])
    assert "0 cells and 1 search for what fits on EPYC (h). Measured 2026-01-02." in head
    assert "CPU memory figures here are tensor storage on the CPU" in head
    assert "Nothing in this report was measured on: cuda, rocm, xpu." in head
    assert "<h3>EPYC on h</h3>" in page


def test_without_a_search_there_is_no_section(tmp_path):
    write_report(Loaded(records=[make_record()], refused=[]), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert 'id="capacity"' not in page
    assert "1 cell on cpu" in words(page)


def test_the_curve_joins_batches_and_lengths_by_architecture():
    (view,) = capacity_views([make_point(), longest(), make_point(axes={"architecture": "mamba"})])
    assert view.chart.count("<svg") == 1
    for label in ("llama: largest batch, in pairs", "mamba: largest batch, in pairs", "DPO full"):
        assert label in view.chart
    assert 'aria-label="Largest batch that fits versus sequence length' in view.chart
    (alone,) = capacity_views([make_point()])
    assert alone.chart == ""


def test_devices_limits_and_settings_are_apart():
    other = make_point(provenance=Provenance(device="H100", host="g"), memory_kind="vram",
                       limit_bytes=80 * GIB, limit_given=False)  # fmt: skip
    views = capacity_views(
        [
            make_point(),
            make_point(limit_bytes=GIB),
            make_point(axes={"lora_rank": 8, "peft": "lora"}),
            other,
        ]
    )
    assert [(v.device, v.settings, v.limit, len(v.rows)) for v in views] == [
        ("EPYC", "tiny-cpu-r8-synthetic", "256 MiB, given", 1),
        ("EPYC", "tiny-cpu-synthetic", "256 MiB, given", 1),
        ("EPYC", "tiny-cpu-synthetic", "1 GiB, given", 1),
        ("H100", "tiny-cpu-synthetic", "80 GiB, the memory of the device", 1),
    ]
    unsupported = make_point(tries=(), provenance=None, limit_bytes=None, reason="no such device")
    (view,) = capacity_views([unsupported])
    assert (view.device, view.limit) == ("no device", "not known, given")


def test_a_search_that_was_stored_twice_is_shown_as_stored_last():
    (view,) = capacity_views([make_point(planned=1), make_point(planned=2)])
    assert [row.point.planned for row in view.rows] == [2]


def test_a_folders_file_becomes_the_section_and_a_bad_one_is_named(tmp_path):
    capacity = Capacity(
        schema_version=SCHEMA_VERSION, alignmeter=__version__, points=[make_point()]
    )
    write_bytes(tmp_path / "a" / CAPACITY_FILE, encode_capacity(capacity))
    write_bytes(tmp_path / "b" / CAPACITY_FILE, b"nonsense")
    write_record(tmp_path, make_record())
    loaded = load_folders([tmp_path])
    assert len(loaded.records) == len(loaded.capacity) == 1
    (sentence,) = loaded.refused
    assert sentence.startswith(
        f"{tmp_path}/b/capacity.json: not the capacity file of bench_capacity:"
    )
    write_report(loaded, tmp_path / "r.html")
    assert 'id="capacity"' in (tmp_path / "r.html").read_text()


def test_hostile_text_stays_text_and_long_text_short(page_of):
    point = make_point()
    names = ("id", "method", "architecture", "size", "peft", "accelerator")
    cell = msgspec.structs.replace(point.cell, **dict.fromkeys(names, HOSTILE))
    wrong = make_point(
        cell=cell, memory_kind=HOSTILE, reason=HOSTILE, plan_text=HOSTILE + "x" * 2**20,
        provenance=Provenance(device=HOSTILE, host=HOSTILE),
        tries=(make_try(2**63 - 1, peak_mib=1), make_try(1, "oom", text=HOSTILE)),
    )  # fmt: skip
    page = page_of(wrong, msgspec.structs.replace(wrong, axis="seq_len"))
    assert "<script" not in without_own_script(page)
    assert "<img" not in page
    assert "49" not in words(section(page))
    assert len(page) < 80_000


@pytest.mark.full
def test_equal_points_give_equal_pages(page_of):
    points = [make_point(), longest(), make_point(axes={"method": "ppo"})]
    assert page_of(*points) == page_of(*reversed(points))
