"""Why nothing was measured, where that is all there is to say."""

__all__ = ["why_nothing"]

from collections import Counter
from collections.abc import Sequence

from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Record
from alignmeter.text import counted, plain

_MOST = 3


def why_nothing(records: Sequence[Record]) -> list[str]:
    """A sentence for each of the most frequent reasons; none where any replicate was measured.

    ``12 of 14 replicates: out_of_memory, an allocation failed. What helps: ...``
    """
    if any(record.status == "ok" for record in records):
        return []
    if not records:
        return ["there is no record of a step"]
    codes: Counter[str] = Counter()
    texts: dict[str, str] = {}
    for record in records:
        code = record.reason.code if record.reason else record.status
        codes[code] += 1
        texts.setdefault(code, record.reason.text if record.reason else "")
    total = counted(len(records), "replicate")
    said = [f"{count} of {total}: {_reason(code, texts[code])}" for code, count in
            codes.most_common(_MOST)]  # fmt: skip
    left = len(codes) - len(said)
    return [*said, *([f"and {counted(left, 'more reason')}"] if left else [])]


def _reason(code: str, text: str) -> str:
    known = REASONS.get(code)
    if known is None:
        return plain(f"{code}: {text}" if text else code)
    said = f" ({text})" if text else ""
    return plain(f"{code}, {known.meaning}{said}. What helps: {known.remedy}")
