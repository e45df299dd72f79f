"""How the reports are laid out: sections with their templates, no circles, no names of methods."""

import ast
import csv
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from made_cells import make_cell_records
from msgspec.structs import replace

from alignmeter.analysis import answers, delta
from alignmeter.analysis.likeness import groups
from alignmeter.records.folder import Loaded
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.terminal.summary import summary_parts
from alignmeter.terminal.tables import lines
from alignmeter_reports import write_report
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.contents import SECTIONS as CONTENTS
from alignmeter_reports.sections import cost

ROOT = Path(__file__).parents[2] / "reports"
PACKAGE = ROOT / "alignmeter_reports"
SECTIONS = PACKAGE / "sections"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEMPLATES = sorted(PACKAGE.rglob("*.j2"))
NAMES = {*METHODS, *ARCHITECTURES, *PEFT_MODES}
SPELLED = re.compile(rf"\b({'|'.join(METHODS)})\b".upper().replace(r"\B", r"\b"))
"""Methods as people write them: a sentence takes them from the pair that it is about."""


def stems(pattern):
    return {path.name.partition(".")[0] for path in SECTIONS.glob(pattern)} - {"__init__"}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """Modules of the package that a module imports, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(map(module_name, MODULES))


def test_each_section_is_a_module_with_its_template_and_stands_in_the_page():
    """A template of macros is no section."""
    assert stems("*.py") == stems("*.html.j2")
    assert sorted(CONTENTS) == sorted(stems("*.html.j2"))


def test_macros_are_used():
    text = "".join(path.read_text() for path in TEMPLATES)
    for path in SECTIONS.glob("*.macros.j2"):
        assert f'"sections/{path.name}"' in text


def test_modules_do_not_import_each_other_in_circles():
    """Sorting them raises `CycleError`. A section imports no output and not the view of all."""
    graph = {module_name(path): imported(path) - {"alignmeter_reports"} for path in MODULES}
    tuple(TopologicalSorter(graph).static_order())
    for path in SECTIONS.glob("*.py"):
        top = {name for name in imported(path) if name.count(".") == 1}
        assert top <= {"alignmeter_reports.cells", "alignmeter_reports.drawing",
                       "alignmeter_reports.sections"}, path.name  # fmt: skip
    for path in (PACKAGE / "drawing").glob("*.py"):
        assert {name.split(".")[1] for name in imported(path) if "." in name} <= {"drawing"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: module_name(path))
def test_no_module_knows_a_method_or_an_architecture_by_name(path):
    """What is true of one stands in its row of the registry."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = {node.value} & NAMES | {*re.split(r"[-_ ]", node.value)} & {*METHODS}
            assert not named, f"line {node.lineno}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_compares_a_method_or_an_architecture_by_name(path):
    text = path.read_text()
    for code in re.findall(r"{[{%].*?[%}]}", text, re.DOTALL):
        assert not NAMES & set(re.findall(r"[\"'](\w+)[\"']", code)), code
    assert not SPELLED.search(text)


def test_a_record_of_a_later_version_is_shown(tmp_path):
    """It may name a method, an architecture and a PEFT mode that this version has no rows of."""
    axes = {"method": "of_tomorrow", "architecture": "rwkv", "peft": "half"}
    records = [
        replace(record, cell=replace(record.cell, id="of_tomorrow-rwkv-0", **axes))
        for record in make_cell_records([0.1, 0.2, 0.3], joules=2.0)
    ]
    records += make_cell_records([0.1], method="ppo", joules=3.0)
    write_report(Loaded(records=records, refused=[]), tmp_path / "r.html", tmp_path / "r.csv")
    page = (tmp_path / "r.html").read_text()
    assert "of_tomorrow-rwkv-0" in page
    # Each section is there, or in the list of those that have nothing to say, with its reason.
    told = set(re.findall(r'<h2 id="(\w+)"', page)) - {"absent", "reading"}
    absent = page[page.index('<dl class="absent">') :]
    reasons = re.findall(r"<dt>.*?</dt><dd>(.*?)</dd>", absent[: absent.index("</dl>")])
    assert told < set(CONTENTS)
    assert len(told) + len(reasons) == len(CONTENTS)
    assert all(len(reason) > 10 for reason in reasons)
    assert "ok 4" in lines(summary_parts(records))


def test_a_second_pair_of_methods_is_shown_under_its_own_names(tmp_path, monkeypatch):
    """A row of `DELTAS` is enough: no table calls SFT what it is not."""
    for module in (delta, cost, answers):
        monkeypatch.setattr(module, "DELTAS", (("dpo", "ppo"), ("sft", "ppo")))
    records = [
        record
        for method, peak in (("sft", 2 << 20), ("dpo", 3 << 20), ("ppo", 4 << 20))
        for record in make_cell_records([0.1], method=method, peak=peak)
    ]
    loaded = Loaded(records=records, refused=[])
    write_report(loaded, tmp_path / "r.html", tmp_path / "r.csv", md=tmp_path / "r.md")
    rows = csv.DictReader((tmp_path / "r.delta.csv").read_text().splitlines())
    assert [(row["method"], row["versus"], row["peak_bytes"]) for row in rows] == [
        ("dpo", "ppo", str(3 << 20)),
        ("sft", "ppo", str(2 << 20)),
    ]
    page, text = (tmp_path / "r.html").read_text(), (tmp_path / "r.md").read_text()
    shown = " ".join(" ".join(lines(summary_parts(records))).split())
    for less, percent in (("DPO", "25.0 %"), ("SFT", "50.0 %")):
        assert f"From {less}'s peak to PPO's" in page
        assert f"What 1000 optimisation steps of {less} save over PPO's" in page
        assert f"<h4>{less} versus PPO</h4>" in page
        assert f"### {less} versus PPO, peak memory" in text
        assert f"{less} versus PPO: peak memory of one step" in shown
        assert f"what {less} saves of PPO's peak" in shown
        assert percent in page
        assert percent in shown


def test_rows_of_one_device_in_two_settings_say_which(tmp_path):
    """Three caps of one card: rows that read alike are not told apart, and what one saves is not
    worked out from the other's hours."""
    records = []
    for cap, dpo_s, ppo_s in ((700, 3.6, 7.2), (500, 7.2, 14.4)):
        for method, seconds in (("dpo", dpo_s), ("ppo", ppo_s)):
            records += [
                replace(record, provenance=replace(record.provenance, power_cap_w=float(cap)))
                for record in make_cell_records([seconds] * 3, method=method, accelerator="cuda")
            ]
    write_report(Loaded(records=records, refused=[]), tmp_path / "r.html", tmp_path / "r.csv")
    device = records[0].provenance.device
    rows = list(csv.DictReader((tmp_path / "r.delta.csv").read_text().splitlines()))
    assert [row["device"] for row in rows] == [f"{device} (cap 500 W)", f"{device} (cap 700 W)"]
    shown = " ".join(" ".join(lines(summary_parts(records))).split())
    page = (tmp_path / "r.html").read_text()
    for cap in (500, 700):
        assert f"peak memory of one step (VRAM, {device} (cap {cap} W))" in shown
        assert f"{device} (cap {cap} W)" in page
    found = groups(records)
    hours = {saving.evidence.device: saving.hours for saving in
             cost.cost_view(cell_rows(found), found, None).savings}  # fmt: skip
    assert hours == pytest.approx({f"{device} (cap 700 W)": 1.0, f"{device} (cap 500 W)": 2.0})
