"""Plans on the page, from files as `alignmeter plan --out` stores them."""

import msgspec
import pytest
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders, write_bytes, write_record
from alignmeter.records.prediction import Fit, Prediction, decode_predictions, encode_predictions
from alignmeter_reports import write_report

GIB = 2**30
HOSTILE = "<script>alert(1)</script>"


def prediction(**changes):
    made = {
        "cell": make_record().cell,
        "peak_bytes": 40 * GIB,
        "peak_phase": "backward",
        "peak_operator": "aten.mm.default",
        "phases": {"backward": 40 * GIB},
        "ledger": {"policy_weights_bytes": 30 * GIB, "activations_bytes": 10 * GIB},
        "trained_parameters": 1000,
        "fits": {
            "MI300X": Fit(ok=True, spare_bytes=150 * GIB),
            "H100-SXM": Fit(ok=True, spare_bytes=37 * GIB, batch=3, seq_len=2048),
            "RTX-4090": Fit(ok=False, spare_bytes=-18 * GIB),
        },
    }
    return Prediction(**{**made, **changes})


def page(folder, *predictions):
    write_record(folder, make_record())
    write_bytes(folder / "plan.json", encode_predictions(list(predictions)))
    write_report(load_folders([folder]), folder / "r.html")
    return (folder / "r.html").read_text()


def test_chips_come_by_how_close_they_are(tmp_path):
    said = page(tmp_path, prediction())
    first = "H100-SXM (37 GiB spare; at most batch 3, or 2048 tokens), MI300X (150 GiB spare)"
    assert first in said
    assert "RTX-4090 (18 GiB too little)" in said
    assert "policy weights 30 GiB, activations 10 GiB" in said


def test_without_plans_there_is_no_section(tmp_path):
    write_record(tmp_path, make_record())
    write_report(load_folders([tmp_path]), tmp_path / "r.html")
    assert 'id="plan"' not in (tmp_path / "r.html").read_text()


def test_nothing_in_a_plan_executes(tmp_path):
    fits = {HOSTILE: Fit(ok=False, spare_bytes=-1)}
    said = page(tmp_path, prediction(peak_phase=HOSTILE, fits=fits, ledger={HOSTILE: 1}))
    assert HOSTILE not in said


def test_plans_read_back_and_bad_ones_are_refused_by_name(tmp_path):
    made = [prediction(), prediction(fits={})]
    assert decode_predictions(encode_predictions(made), "here") == made
    with pytest.raises(InputError, match="here: not the JSON of `alignmeter plan`"):
        decode_predictions(b'[{"cell": 1}]', "here")
    write_bytes(tmp_path / "plan.json", b"[1]")
    write_record(tmp_path, make_record())
    assert "plan.json" in load_folders([tmp_path]).refused[0]
    assert msgspec.json.decode(encode_predictions([]))["predictions"] == []


def test_a_bare_list_of_an_older_version_is_still_read(tmp_path):
    made = [prediction(), prediction(fits={})]
    older = msgspec.json.encode(made)
    assert decode_predictions(older, "here") == made
    assert decode_predictions(b"\n " + older, "here") == made
    write_bytes(tmp_path / "plan.json", older)
    assert load_folders([tmp_path]).predictions == made
    assert decode_predictions(older.replace(made[0].cell.id.encode(), b"old"), "here") == made
