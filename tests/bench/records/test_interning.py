"""Records that share their equal parts are equal to what they were."""

import msgspec
from made_records import make_record

from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.interning import Sharing
from alignmeter.records.record import encode_record


def night(k, **said):
    """A record as it is read: nothing in it is shared with another."""
    record = make_record(replicate=k)
    place = msgspec.structs.replace(
        record.provenance, started=f"2026-01-{k + 1:02}", **{"versions": {"torch": "2"}, **said}
    )
    found = msgspec.structs.replace(record, provenance=place)
    return msgspec.json.decode(encode_record(found), type=type(record))


def test_equal_parts_are_kept_once_and_nothing_changes():
    sharing = Sharing()
    plain = [night(k) for k in range(3)]
    shared = [sharing.record(record) for record in plain]
    assert shared == plain
    for part in (
        lambda r: r.cell,
        lambda r: r.provenance.versions,
        lambda r: r.provenance.environment_digest,
        lambda r: r.telemetry.missing,
    ):
        assert len({id(part(record)) for record in plain}) == 3
        assert len({id(part(record)) for record in shared}) == 1


def test_numbers_that_are_equal_but_not_written_alike_are_apart():
    """An epoch of 1 stays a whole number beside a rate of 1.0."""
    sharing = Sharing()
    for value in (1, 1.0, 1):
        record = sharing.record(night(0, hyperparameters={"rate": value}))
        found = record.provenance.hyperparameters["rate"]
        assert (type(found), found) == (type(value), value)


def test_read_records_share(tmp_path):
    for k in range(2):
        write_record(tmp_path, night(k))
    one, other = load_folders([tmp_path]).records
    assert one.replicate != other.replicate
    assert one.provenance.versions is other.provenance.versions
