"""The site: an index, a page a night, a page a cell, and links that lead to what is there."""

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from made_nights import DRIVER_NIGHT, NIGHTS, night_records
from made_steps import write_run
from msgspec.structs import replace

from alignmeter.errors import InputError
from alignmeter.records.folder import Loaded, load_folders
from alignmeter_reports.site import write_site

CELLS = (("dpo", "llama", "full"), ("sft", "mamba", "lora"))
SHOWN = (DRIVER_NIGHT - 1, DRIVER_NIGHT, NIGHTS)
"""The night before the driver changed, that night, and the last, which has a cell less."""


class Links(HTMLParser):
    """Where a page leads to, and what in it can be led to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.text = [], set(), path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.links += [said["href"]] if tag == "a" else []
        self.anchors |= {said["id"]} if "id" in said else set()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    draw, folder = random.Random(1), tmp_path_factory.mktemp("records")
    for number in SHOWN:
        write_run(
            folder / f"{number:02}", night_records(number, draw, cells=CELLS, replicates=1), draw
        )
    return load_folders([folder])


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(records, folder, title="Lab")
    return folder


def test_every_link_leads_to_a_file_and_a_place_in_it(site):
    pages = {path: Links(path) for path in site.rglob("*.html")}
    assert {path.parent.name for path in pages} == {site.name, "nights", "cells"}
    for path, page in pages.items():
        for link in page.links:
            said = urlsplit(link)
            assert not said.scheme, link
            assert not said.netloc, link
            target = (path.parent / unquote(said.path)).resolve() if said.path else path
            assert target in pages, (path.name, link)
            if said.fragment:
                assert said.fragment in pages[target].anchors, (path.name, link)
    reached, new = set(), {site / "index.html"}
    while new:
        reached |= new
        new = {(path.parent / urlsplit(link).path).resolve() for path in new
               for link in pages[path].links if urlsplit(link).path} - reached  # fmt: skip
    assert reached == set(pages)


def test_the_index_says_what_each_night_lacks_and_what_differs(site):
    text = (site / "index.html").read_text()
    rows = re.findall(r"<tr><th scope=\"row\"><a href=\"nights/(.*?)\.html\".*?</tr>", text)
    assert rows == sorted(rows, reverse=True)
    last, changed, first = re.findall(r"<tr><th scope=\"row\"><a href=\"nights/.*?</tr>", text)
    assert "1: SFT mamba LoRA" in last
    assert "driver 570.133.20 -&gt; 575.57.08" in changed
    assert "driver" not in last + first
    assert f"url=nights/{rows[0]}.html" in (site / "latest.html").read_text()


def test_a_cell_has_all_of_its_nights_and_keeps_what_was_missing_apart(site):
    counts = {
        path.name.partition("-")[0]: len(re.findall('<tr><th scope="row"', path.read_text()))
        for path in (site / "cells").iterdir()
    }
    assert counts == {"dpo": len(SHOWN), "sft": len(SHOWN) - 1}


def test_a_night_that_is_there_is_not_drawn_again(records, site):
    """A page is replaced where the same command would say something else, and only there."""
    pages = sorted((site / "nights").iterdir())
    before = [path.stat().st_ino for path in pages]
    write_site(records, site, title="Lab")
    assert [path.stat().st_ino for path in pages] == before
    changed = replace(records.records[-1], seed=7)
    write_site(Loaded(records=[*records.records[:-1], changed], refused=[]), site, title="Lab")
    assert [path.stat().st_ino != inode for path, inode in zip(pages, before, strict=True)] == [
        False, False, True]  # fmt: skip


def test_records_without_a_time_make_no_site(records, tmp_path):
    plain = [replace(r, provenance=replace(r.provenance, started="")) for r in records.records]
    with pytest.raises(InputError, match=r"no record says when it was made"):
        write_site(Loaded(records=plain, refused=[]), tmp_path / "site")
    assert not Path(tmp_path / "site").exists()
