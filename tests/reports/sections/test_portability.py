"""The portability table on the page, from files as `alignmeter kernels` stores them."""

import re

import pytest
from made_portability import make_row, make_table
from made_records import make_record
from own_script import without_own_script

from alignmeter.records.folder import load_folders, write_bytes, write_record
from alignmeter.records.portability import encode_portability
from alignmeter_reports import write_report

DASH = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture
def page_of(tmp_path):
    """The page over a folder with one record and these files ``kernels.json``."""

    def page(*contents):
        write_record(tmp_path, make_record())
        for i, content in enumerate(contents):
            write_bytes(tmp_path / str(i) / "kernels.json", content)
        write_report(load_folders([tmp_path]), tmp_path / "r.html")
        return (tmp_path / "r.html").read_text()

    return page


def body_rows(page):
    section = page.partition('id="portability"')[2].partition("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section.partition("<tbody>")[2], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def test_the_table_is_folded_and_the_worst_comes_first(page_of):
    table = make_table(
        make_row(),
        make_row(chip="sm_120", example="RTX 5090", data_centre=False, spills=20),
        make_row(chip="gfx942", example="MI300X", occupancy_unit="waves/CU", matrix=None),
        make_row(chip="sm_100", example="B200", registers=None, spills=None, shared_bytes=None,
                 occupancy=None, matrix=None, error="CompilationError: no"),
    )  # fmt: skip
    page = page_of(encode_portability(table))
    assert body_rows(page) == [
        ["linear_logprob: slopes", "bfloat16", "sm_100 (B200)", DASH, DASH, DASH, DASH, DASH,
         "does not compile for sm_100: CompilationError: no"],
        ["linear_logprob: slopes", "bfloat16", "gfx942 (MI300X)", "110", "0", "96 KiB",
         "16 waves/CU", DASH, "does not use the matrix unit of gfx942"],
        ["linear_logprob: slopes", "bfloat16", "sm_120 (RTX 5090)", "110", "20", "96 KiB",
         "16 warps/SM", "wgmma.mma_async", "yes"],
        ["linear_logprob: slopes", "bfloat16", "sm_90 (H100)", "110", "0", "96 KiB",
         "16 warps/SM", "wgmma.mma_async", "yes"],
    ]  # fmt: skip
    assert "<details>" in page
    assert "<summary>1 function x 4 chips: 2 of 4 compilations fail</summary>" in page
    assert "compiled by Triton 3.9.0 without a GPU" in page
    assert "it does not prove that they ran on them" in page


def test_without_a_table_there_is_no_section(page_of):
    assert "portability" not in page_of()


def test_two_versions_are_two_tables_and_a_copy_is_one(page_of):
    old, new = (encode_portability(make_table(make_row(), triton=v)) for v in ("3.6.0", "3.9.0"))
    page = page_of(new, old, new)
    assert page.count("<details>") == 2
    assert page.index("Triton 3.6.0") < page.index("Triton 3.9.0")
    assert page_of(old, new, new) == page


def test_hostile_text_stays_text(page_of):
    names = ("kernel", "case", "dtype", "function", "chip", "example", "occupancy_unit", "matrix")
    hostile = make_row(**dict.fromkeys(names, HOSTILE))
    wrong = make_row(error=HOSTILE)
    page = page_of(encode_portability(make_table(hostile, wrong, triton=HOSTILE)))
    assert "<script" not in without_own_script(page)
    assert "<img" not in page
    assert "49" not in page.partition('id="portability"')[2].partition("</section>")[0]
    assert page.count("&lt;script&gt;") >= len(names)


def test_a_megabyte_of_text_and_the_largest_figures_are_shown_short(page_of):
    most = 2**63 - 1
    row = make_row(
        matrix="x" * 2**20, registers=most, spills=most, shared_bytes=most, occupancy=most
    )
    assert len(page_of(encode_portability(make_table(row)))) < 90_000


def test_a_file_that_is_no_table_is_named_and_the_records_are_still_read(page_of, tmp_path):
    page = page_of(b'{"schema_version": 9}', b"nonsense")
    loaded = load_folders([tmp_path])
    assert len(loaded.records) == 1
    assert [sentence.removeprefix(f"{tmp_path}/")[:32] for sentence in loaded.refused] == [
        "0/kernels.json: schema_version i",
        "1/kernels.json: not a table of `",
    ]
    assert "0/kernels.json: schema_version is 9" in page
    assert "portability" not in page
