"""Plans made up for tests."""

from made_records import make_record

from alignmeter.records.prediction import Prediction
from alignmeter.records.record import OWNERS


def made_plan(peak_bytes, cell=None, **ledger):
    """A plan of that peak; ``ledger``: owner -> bytes, others 0."""
    rows = {f"{owner}_bytes": ledger.get(owner, 0) for owner in OWNERS}
    return Prediction(
        cell=cell or make_record().cell,
        peak_bytes=peak_bytes,
        peak_phase="backward",
        peak_operator="aten.mm.default",
        phases={"backward": peak_bytes},
        ledger=rows,
        trained_parameters=7,
    )
