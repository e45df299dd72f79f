"""A week of made nights with one slow-down and one broken node: the morning names both, alone."""

import http.server
import json
import socket
import threading

import msgspec
import pytest
from made_history import FULL, LORA, replicate, started

from alignmeter.analysis.history import read_series
from alignmeter.errors import InputError
from alignmeter.lab.drive import Ending
from alignmeter.lab.morning import Morning, before, markdown, morning_of
from alignmeter.lab.notify import check_target, notify
from alignmeter.records.folder import load_folders, write_record
from alignmeter.store.compact import compact

COMPLETE = Ending(failed={}, not_reached={"a": []}, refusals=[])


def night(number, *, seconds=0.2, bad=(), made=(FULL, LORA), first=0):
    """Three replicates of each cell; the first cell of ``made`` takes ``seconds`` a step."""
    return [
        replicate(
            cell, first + k, seconds=(seconds if cell is made[0] else 0.2) * (1 + k / 1000),
            run=f"n{number}", started=started(number, k / 60), bad=bad,
        )
        for cell in made
        for k in range(3)
    ]  # fmt: skip


def morning(tmp_path, records, number, ending=COMPLETE):
    return morning_of(records, read_series(tmp_path, []), f"n{number}", 3, ending)


@pytest.fixture
def week():
    return [record for number in range(6) for record in night(number)]


def test_a_night_like_the_others_is_quiet(tmp_path, week):
    found = morning(tmp_path, [*week, *night(6)], 6)
    assert found.quiet, found
    assert markdown(found).endswith("No news.\n")


def two_classes(number, slow=1.0):
    """A night of two kinds of node. ``slow``: of one cell on the second."""
    every = night(number)
    for record in night(number, seconds=0.1 * slow):
        said = msgspec.structs.replace(record.provenance, device="H200", host="two")
        every.append(msgspec.structs.replace(record, provenance=said))
    return every


def test_a_slow_down_on_one_class_and_a_broken_node_are_named_and_nothing_else(tmp_path):
    """A week; the cell is slowed down on the second class alone."""
    week = [record for number in range(6) for record in two_classes(number)]
    ending = Ending(
        failed={}, not_reached={"a": [], "b": ["x.r0"]}, refusals=["node7 (b): idle: 4 GiB"]
    )
    found = morning(tmp_path, [*week, *two_classes(6, slow=1.25)], 6, ending)
    time, tokens = found.changed  # the other cell and the other class have neither
    assert "step time regressed +25" in time
    assert "trained tokens per s regressed" in tokens
    assert all("on H200: " in line and "lora" not in line for line in found.changed)
    assert found.refused == ["node7 (b): idle: 4 GiB"]
    assert found.not_reached == ["b: 1 replicate"]
    assert {title for title, lines in found.lists.items() if lines} == {
        "changed", "nodes refused", "not reached",
    }  # fmt: skip
    page = [line for line in markdown(found).splitlines() if line.startswith("- ")]
    assert len(page) == 4


@pytest.mark.full
@pytest.mark.parametrize("spoiled", [(), (5,), (2, 3, 4, 5)])
def test_with_a_store_the_news_are_the_same_and_few_nights_are_read(spoiled, tmp_path):
    """``spoiled``: nights whose times are invalid on the first class, so not good there."""
    every = {number: two_classes(number) for number in range(6)}
    every[6] = two_classes(6, slow=1.25)
    for number, records in every.items():
        if number in spoiled:
            records[:6] = night(number, bad=("time",))
        for record in records:
            node_class = "ab"[record.provenance.host == "two"]
            write_record(tmp_path / "nights" / f"n{number}" / node_class, record)
    compact(tmp_path / "nights", tmp_path / "store")
    found = read_series(tmp_path / "store", [])
    asked = []

    def read(name):
        asked.append(int(name[1:]))
        return load_folders([tmp_path / "nights" / name]).records

    some = before(found, every[6], "n6", read, 3)
    assert asked == list(range(5, 5 - 1 - len(spoiled), -1))
    ours = morning_of([*every[6], *some], found, "n6", 3, COMPLETE)
    records = [record for records in every.values() for record in records]
    theirs = morning_of(records, read_series(tmp_path / "nights", []), "n6", 3, COMPLETE)
    assert ours == theirs
    assert len(ours.changed) == 2


def test_the_last_good_night_is_compared_with_where_one_was_spoiled(tmp_path, week):
    spoiled = night(6, seconds=0.4, bad=("time",))
    found = morning(tmp_path, [*week, *spoiled, *night(7)], 7)
    assert found.quiet, found


def test_a_second_try_takes_the_place_of_what_was_spoiled(tmp_path, week):
    spoiled, again = night(6, bad=("time",)), night(6, first=3)
    assert morning(tmp_path, [*week, *spoiled], 6).invalid != []
    assert morning(tmp_path, [*week, *spoiled, *again], 6).quiet


def test_a_first_night_has_nothing_to_compare_with(tmp_path):
    assert morning(tmp_path, night(0), 0).quiet
    assert morning(tmp_path, [], 0).scope == "nothing was measured"


@pytest.mark.full
def test_a_metric_that_stays_on_another_level_is_told_for_days(tmp_path):
    for number in range(12):
        for record in night(number, seconds=0.2 if number < 8 else 0.25):
            write_record(tmp_path / f"n{number}" / "a", record)
    records = [r for number in range(12) for r in night(number, seconds=0.2 + 0.05 * (number > 7))]
    found = morning(tmp_path, records, 11)
    assert found.changed == []  # versus the night before
    assert [(s.metric, s.since) for s in found.shifts] == [("time", "n8/a"), ("tokens", "n8/a")]
    assert {shift.cell for shift in found.shifts} == {FULL.cell.id}
    assert "time regressed +25.0 % since n8/a" in markdown(found)


@pytest.fixture
def webhook():
    """A server that keeps what it gets; its address and the list."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def test_the_news_reach_a_webhook_or_a_file(tmp_path, webhook):
    address, got = webhook
    found = Morning(night="n1", scope="2 cells", changed=["a cell: slower"])
    notify(address, found, tmp_path)
    notify("news.txt", found, tmp_path)
    assert got == [json.loads((tmp_path / "news.txt").read_text())]
    assert got[0]["text"] == "Night n1: 1 line of news"
    assert (got[0]["quiet"], got[0]["changed"]) == (False, ["a cell: slower"])
    with pytest.raises(InputError, match="/broken did not take the news"):
        notify(f"{address}/broken", found, tmp_path)


def test_what_answers_no_http_did_not_take_the_news(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            taken, _ = server.accept()
            with taken:
                taken.recv(1 << 16)
                taken.sendall(b"220 mail.example\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=r"did not take the news \(220 mail.example"):
            notify(address, Morning(night="n1", scope=""), tmp_path)
        thread.join()


@pytest.mark.parametrize("target", ["", "ftp://x/y", "https:///no-host", "http://a b/", "http://x:y",
                                    "http://[::1", "a\nb"])  # fmt: skip
def test_a_target_that_is_neither_a_url_nor_a_path_is_refused_before_the_night(target):
    with pytest.raises(InputError, match=r"--notify is .*; give a URL such as https://.*, or a"):
        check_target(target, "--notify")


@pytest.mark.parametrize("target", ["http://127.0.0.1:8", "https://[::1]/x?y=z", "a/b.json", "c:d"])
def test_a_url_and_a_path_are_targets(target):
    check_target(target, "--notify")


def test_what_records_say_is_no_markup():
    said = markdown(Morning(night="n", scope="", changed=["<b>[x](y)</b>"]))
    assert r"- \<b\>\[x\](y)\</b\>" in said
