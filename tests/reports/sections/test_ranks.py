"""Steps of several devices in page, CSV and terminal."""

import csv
import io

import msgspec
from made_ranks import make_ranks

from alignmeter.analysis.likeness import groups
from alignmeter.records.folder import Loaded
from alignmeter.records.reasons import Code
from alignmeter.records.record import Phase, Reason, Verdict, decode_record, encode_record
from alignmeter.terminal.ranks import rank_parts
from alignmeter.terminal.tables import lines
from alignmeter_reports.page import render_page
from alignmeter_reports.table import csv_bytes
from alignmeter_reports.view import Sources, gathered

MIB = 2**20


def several():
    return [
        make_ranks(peaks=[100 * MIB], seconds=[1.0]),
        make_ranks(peaks=[50 * MIB, 70 * MIB], seconds=[0.8, 0.7]),
    ]


def page_of(records):
    return render_page(gathered(Sources(loaded=Loaded(records=records, refused=[]), title="t")))


def test_a_page_lists_the_ranks_where_there_are_any():
    page = page_of(several()).partition('id="ranks"')[2].partition("</section>")[0]
    assert "rank 1 has the largest peak, 16.7 % above the mean" in page
    assert "rank 0 has the slowest step, 6.7 % above the mean" in page
    assert "all gather 3 MiB in 11 calls, 200 ms, exposed 100 ms" in page
    assert ">70 MiB<" in page
    assert ">1.25<" in page
    assert "no cell is a step of several devices" in page_of(several()[:1])


def test_ranks_that_hold_the_same_have_no_largest():
    record = make_ranks(peaks=[50 * MIB, 50 * MIB], seconds=[0.8, 0.7])
    page = page_of([record]).partition('id="ranks"')[2].partition("</section>")[0]
    assert "all ranks have the same peak" in page
    assert "the largest peak," not in page


def test_an_invalid_time_has_its_mark_among_ranks_and_phases():
    one, two = several()
    bad = Verdict(ok=False, reasons=[Reason(code=Code.HOST_LOADED, text="busy")])
    two = msgspec.structs.replace(
        two, validity={**two.validity, "time": bad}, phases={"forward": Phase(median_s=0.8)}
    )
    page = page_of([one, two])
    ranks = page.partition('id="ranks"')[2].partition("</section>")[0]
    assert "rank 0 has the slowest step, 6.7 % above the mean (an invalid time)" in ranks
    assert ">800 ms*<" in ranks
    assert ">70 MiB<" in ranks
    phases = page.partition('id="phases"')[2].partition("</section>")[0]
    assert "forward 800 ms*<" in phases
    assert "* marks an invalid time" in phases


def test_the_csv_says_how_even_they_are():
    (one, two) = csv.DictReader(io.StringIO(csv_bytes(several()).decode()))
    two = two if two["world_size"] == "2" else one
    assert (two["largest_rank"], two["slowest_rank"]) == ("1", "0")
    assert float(two["rank_peak_imbalance_percent"]) == 100 * (70 / 60 - 1)
    assert two["communication_bytes"] == str(4 * MIB)
    assert two["failed_rank"] == ""


def test_the_terminal_has_a_line_for_each_cell():
    text = "\n".join(lines(rank_parts(groups(several())), 200))
    assert "70 MiB" in text
    assert "1.25" in text
    assert lines(rank_parts(groups(several()[:1]))) == []


def test_a_failed_rank_is_kept():
    record = several()[1]
    ranks = [
        msgspec.structs.replace(one, status=status, last_phase="backward")
        for one, status in zip(record.ranks, ("ended", "oom"), strict=True)
    ]
    record = msgspec.structs.replace(record, status="oom", ranks=ranks, failed_rank=1)
    assert decode_record(encode_record(record), "here") == record
    page = page_of([record]).partition('id="ranks"')[2].partition("</section>")[0]
    assert "rank 1 failed" in page
    assert ">ended<" in page


def test_claims_that_nothing_bears_on_are_no_section():
    """One cell of one method is neither for nor against any of them."""
    page = page_of(several()[:1])
    assert 'id="claims"' not in page
    assert "no cell and no pair here is for or against a claim" in page
