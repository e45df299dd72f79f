"""Records that the same cell, measured again, may be without: a busy host, a throttled device."""

__all__ = ["temporarily_invalid"]

from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Record


def temporarily_invalid(record: Record) -> bool:
    """Whether a figure is invalid for temporary reasons, and for no other."""
    codes = [[r.code for r in v.reasons] for v in record.validity.values() if not v.ok]
    passing = [all(c in REASONS and REASONS[c].passing for c in found) for found in codes if found]
    return any(passing)
