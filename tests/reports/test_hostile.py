"""Records made to hurt: nothing of them is markup, a formula or a page that does not open."""

import csv
import io
import json
from html.parser import HTMLParser

import msgspec
import pytest
from crossed import thinned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_cells import make_cell_records
from own_script import without_own_script

from alignmeter.records.folder import Loaded, load_folders
from alignmeter.records.record import Reason, Record, decode_record, encode_record
from alignmeter_reports import write_report

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}]]>--><svg onload=a>"
FORMULA = "=cmd|' /C calc'!A0"
MEGABYTE = "n" * 2**20
WHOLE = 2**63 - 1
FIXED = ("status", "source", "id")
"""Fields with a type of their own, and the id, which is hurt apart."""
OUTPUTS = ("r.html", "r.csv", "r.delta.csv", "r.md", "r.parquet")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.style = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def hurt(value, text, name=""):
    """Every text in a record's JSON becomes ``text``; so do keys that are free."""
    if isinstance(value, dict):
        return {key: hurt(item, text, key) for key, item in value.items()}
    if isinstance(value, list):
        return [hurt(item, text) for item in value]
    return text if isinstance(value, str) and name not in FIXED else value


def hurt_records(text):
    found = []
    for axes in ({}, {"method": "ppo"}):
        for record in make_cell_records([0.1] * 3, peak=2**20, joules=1.0, **axes):
            raw = hurt(json.loads(encode_record(record)), text)
            raw["cell"]["method"] = record.cell.method
            raw["cell"]["id"] = f"{text}{record.cell.id}"
            raw["provenance"] |= {
                "versions": {text: text}, "environment": {text: text}, "kernel_path": {text: text},
                "throttle_reasons": [text], "commit": text, "driver": text, "form_factor": text,
                "runtime": text,
            }  # fmt: skip
            raw["phases"] = {text: {"median_s": 0.1}}
            raw["validity"]["time"] = {"ok": False, "reasons": [{"code": text, "text": text}]}
            found.append(decode_record(json.dumps(raw).encode(), "r"))
    failed = msgspec.structs.replace(
        found[0], status="crashed", replicate=9,
        reason=Reason(code=text, text=text),
    )  # fmt: skip
    return [*found, failed]


def written(folder, records, refused=()):
    loaded = Loaded(records=list(records), refused=list(refused))
    write_report(
        loaded, folder / "r.html", folder / "r.csv", md=folder / "r.md",
        parquet=folder / "r.parquet", baseline=records,
    )  # fmt: skip
    assert all((folder / name).exists() for name in OUTPUTS)
    return (folder / "r.html").read_text()


def harmless(text):
    """No tag and no attribute that runs or fetches anything came out of a record."""
    page = Tags(without_own_script(text))
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form"} & page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any(name in ("src", "action", "formaction") for name, _ in page.attributes)
    links = [value for name, value in page.attributes if name.endswith("href")]
    assert all(value.startswith("#") for value in links)
    return page


def test_markup_in_every_text(tmp_path):
    text = written(tmp_path, hurt_records(SCRIPT), [SCRIPT])
    harmless(text)
    assert "<script>alert" not in text
    assert "<svg onload" not in text
    assert "7*7" in text
    markdown = (tmp_path / "r.md").read_text()
    assert "<" not in markdown
    assert "[" not in markdown


@pytest.mark.parametrize("text", thinned([FORMULA, "+1+1", "-1", "@x", "\t=1", "\r=1"], every=3))
def test_formulas_in_every_text(tmp_path, text):
    written(tmp_path, hurt_records(text))
    for name in ("r.csv", "r.delta.csv"):
        rows = list(csv.reader(io.StringIO((tmp_path / name).read_text())))
        cells = [cell for row in rows[1:] for cell in row if cell and not is_number(cell)]
        assert cells
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.full
def test_a_megabyte_in_every_text(tmp_path):
    text = written(tmp_path, hurt_records(MEGABYTE), [MEGABYTE])
    harmless(text)
    assert len(text) < 400_000
    assert (tmp_path / "r.md").stat().st_size < 2**20


def test_absurd_figures(tmp_path):
    """Sizes, times and rates at the ends of what JSON and 64 bits hold."""
    records = []
    for size, seconds in ((WHOLE, 1e308), (0, 5e-324), (-1, -1.0), (1, 0.0)):
        for method in ("dpo", "ppo"):
            (record,) = make_cell_records([0.1], method=method)
            cell = msgspec.structs.replace(record.cell, seq_len=size, batch=size)
            records.append(
                msgspec.structs.replace(
                    record, cell=cell, replicate=abs(size), ledger={},
                    memory=msgspec.structs.replace(
                        record.memory, allocated_peak_bytes=size, reserved_peak_bytes=size,
                        predicted_peak_bytes=size,
                    ),
                    timing=msgspec.structs.replace(
                        record.timing, median_s=seconds, step_s=[seconds] * 3
                    ),
                    throughput=msgspec.structs.replace(
                        record.throughput, trained_tokens_per_s=seconds, mfu=seconds
                    ),
                    energy=msgspec.structs.replace(record.energy, per_step_j=seconds),
                )
            )  # fmt: skip
    harmless(written(tmp_path, records))


@pytest.mark.parametrize(
    "change",
    [
        ('"median_s":', '"median_s":NaN,"x":'),
        ('"replicate":', '"replicate":1e400,"x":'),
        ('"status":', '"status":"nice","x":'),
        ("{", "["),
    ],
    ids=["nan", "infinite", "unknown status", "not json"],
)
def test_a_bad_file_is_named_and_the_rest_is_shown(tmp_path, change):
    good, bad = make_cell_records([0.1, 0.1])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "good.json").write_bytes(encode_record(good))
    compact = msgspec.json.encode(bad).decode()
    (tmp_path / "run" / "<b>bad.json").write_text(compact.replace(*change, 1))
    loaded = load_folders([tmp_path / "run"])
    assert len(loaded.records) == 1
    write_report(loaded, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    harmless(text)
    assert "&lt;b&gt;bad.json: not an alignmeter record" in text
    assert good.cell.id in text


ODD = ("NaN", "-inf", "\x00\x1b[2J", "\u202e", "", "_")


@pytest.mark.parametrize("text", thinned(ODD, every=3))
def test_odd_text_everywhere(tmp_path, text):
    harmless(written(tmp_path, hurt_records(text)))


@pytest.mark.exhaustive
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(max_size=60) | st.sampled_from([*ODD, SCRIPT, FORMULA]),
    figure=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_any_figure(tmp_path, text, figure):
    records: list[Record] = []
    for record in hurt_records(text):
        timing = msgspec.structs.replace(record.timing, median_s=figure, step_s=[figure])
        records.append(msgspec.structs.replace(record, timing=timing))
    harmless(written(tmp_path, records))
