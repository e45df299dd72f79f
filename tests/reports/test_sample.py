"""The sample in docs/: real records that this version reads, and names nobody's folders."""

import gzip
import re
from pathlib import Path

import pytest

from alignmeter.records.folder import load_folders
from alignmeter_reports import write_report

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"


@pytest.fixture(scope="module")
def loaded():
    return load_folders([SAMPLE])


def test_every_cell_was_measured_three_times(loaded):
    assert loaded.refused == []
    assert {record.status for record in loaded.records} == {"ok"}
    replicates = {}
    for record in loaded.records:
        replicates.setdefault(record.cell.id, set()).add(record.replicate)
    assert len(replicates) == 12
    assert set(map(frozenset, replicates.values())) == {frozenset(range(3))}


def test_the_page_shows_what_the_records_say(loaded, tmp_path):
    """The page in docs/ names each cell, and a report made now has the figures of that CSV.

    After a change of columns: ``alignmeter report docs/sample`` into the files there.
    """
    page = (SAMPLE / "report.html").read_text()
    for record in loaded.records:
        assert record.cell.id in page
    write_report(loaded, tmp_path / "now.html", tmp_path / "now.csv", "alignmeter report")
    assert (tmp_path / "now.csv").read_text() == (SAMPLE / "report.csv").read_text()


def test_no_folder_of_a_machine_is_named():
    for path in SAMPLE.iterdir():
        if path.suffix != ".png":
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            assert not re.search(r"(?<![\w.])/(home|tmp|root|work|opt)/", text), path
