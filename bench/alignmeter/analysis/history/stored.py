"""Figures as columns of a store's parts, so that a history of a million records decodes none.

They are worked out when a record is compacted. A part says by which rules; those of a part that
goes by other rules, or by none, are worked out from its documents, as those of a folder are. So are
those of a run in which a clock may have drifted, for that is seen in all its records together.
"""

__all__ = ["HISTORY_FIELDS", "RULES", "history_columns", "read_stored"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from alignmeter.analysis.clock_drift import LARGEST_SHARE, with_clock_drift
from alignmeter.analysis.history.figures import COLUMNS, NO_CODE, Figures, kind_column, row_of
from alignmeter.analysis.history.listing import Listing
from alignmeter.analysis.history.result import Node
from alignmeter.analysis.history.runs import no_time
from alignmeter.analysis.history.settings import Clocks, Flat
from alignmeter.analysis.likeness import UNKNOWN, time_of
from alignmeter.analysis.metrics import METRICS
from alignmeter.errors import InputError
from alignmeter.records.documents import Documents, open_part
from alignmeter.records.folder import load_documents
from alignmeter.records.record import SCHEMA_VERSION, Record
from alignmeter.text import sentence

if TYPE_CHECKING:  # they take time to import
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

RULES: dict[bytes | str, bytes | str] = {b"alignmeter.history": f"{SCHEMA_VERSION}.1".encode()}
"""In a part's metadata. The second number grows with whatever changes what `row_of` finds."""
_NODE, _SETTING, _CLOCKS = "history_node", "history_setting", "history_clocks"
HISTORY_FIELDS = {
    **dict.fromkeys((_NODE, _SETTING, _CLOCKS), "text"),
    **{f"history_{name}": "number" for name in METRICS},
    **{f"history_{name}_kind": "text" for name in METRICS},
}
"""Columns of a part beside those of the report, and what they hold."""
T = TypeVar("T")


def history_columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Name of `HISTORY_FIELDS` -> a value for each record."""
    rows = [row_of(record) for record in records]
    found: dict[str, list[Any]] = {
        _NODE: [_json(msgspec.structs.astuple(row.node)) for row in rows],
        _SETTING: [_json(row.setting) for row in rows],
        _CLOCKS: [_json(row.clocks) if row.clocks else None for row in rows],
    }
    for i, name in enumerate(METRICS):
        found[f"history_{name}"] = [row.figures[i] for row in rows]
        found[f"history_{name}_kind"] = [row.kinds[i] for row in rows]
    return found


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def read_stored(store: Path, refused: list[str]) -> Figures:
    """The figures of each replicate in a store, as `read_runs` gives their records.

    ``refused`` gets a sentence for what cannot be read.
    """
    import numpy as np

    figures = Figures()
    try:
        listing = Listing(store)
        for number, part in enumerate(listing.parts):
            with open_part(part) as file:
                if listing.add(file, number):
                    figures.add_columns(_columns_of(file, figures))
    except (InputError, OSError) as error:
        refused.append(sentence(str(error)))
        return Figures()
    rows, run = listing.order()
    figures.take(rows)
    codes = np.array([figures.runs(name) for name in listing.names], np.int64)
    figures.add_column("run", codes[run])
    by_document = np.union1d(run[figures["node"] == NO_CODE], _drifting(figures, run))
    if len(by_document):
        _read_documents(figures, listing, rows, run, by_document, refused)
    _drop_copies(figures)
    _drop_timeless(figures, refused)
    return figures


def _columns_of(file: "pq.ParquetFile", figures: Figures) -> "dict[str, NDArray[Any]]":
    """The columns of one part; its rows have no node where it goes by other rules."""
    import numpy as np

    count, metadata = file.metadata.num_rows, file.schema_arrow.metadata or {}
    found = {name: np.full(count, NO_CODE, np.int64) for name in COLUMNS}
    found |= {name: np.full(count, np.nan) for name in METRICS}
    same_rules = RULES.items() <= metadata.items()
    if not same_rules or not HISTORY_FIELDS.keys() <= set(file.schema_arrow.names):
        return found
    table = file.read(columns=["cell_id", "replicate", "started", *HISTORY_FIELDS])

    def coded(name: str, code: Callable[[T], int], read: Callable[[str], T]) -> "NDArray[Any]":
        return _coded(table.column(name).combine_chunks(), lambda text: code(read(text)))

    found["replicate"] = table.column("replicate").to_numpy()
    found["cell"] = coded("cell_id", figures.cells, str)
    found["start"] = coded("started", figures.starts, str)
    found["node"] = coded(_NODE, figures.nodes, _node)
    found["setting"] = coded(_SETTING, figures.settings, _SETTINGS.decode)
    found["clocks"] = coded(_CLOCKS, figures.clocks, _ALL_CLOCKS.decode)
    for name in METRICS:
        found[name] = table.column(f"history_{name}").to_numpy()
        found[kind_column(name)] = coded(f"history_{name}_kind", figures.kinds, str)
    return found


_SETTINGS = msgspec.json.Decoder(Flat)
_ALL_CLOCKS = msgspec.json.Decoder(Clocks)


def _node(text: str) -> Node:
    host, device, device_id = msgspec.json.decode(text)
    return Node(host=host, device=device, device_id=device_id)


def _coded(column: "pa.Array[Any]", code: Callable[[str], int]) -> "NDArray[Any]":
    """The number of each text of a column; none where there is no text."""
    import numpy as np

    encoded: Any = column.dictionary_encode()
    numbers = [*map(code, encoded.dictionary.to_pylist()), NO_CODE]
    places = encoded.indices.fill_null(len(numbers) - 1).to_numpy()
    found: NDArray[Any] = np.array(numbers, np.int64)[places]
    return found


def _drifting(figures: Figures, run: "NDArray[Any]") -> "NDArray[Any]":
    """Runs of which two replicates of a cell have clocks so far apart that one may be marked."""
    import numpy as np

    known = figures.clocks.values
    found = [np.zeros(0, np.int64)]
    for name in {name for clocks in known for name, _ in clocks}:
        mhz = np.array([*(dict(clocks).get(name, np.nan) for clocks in known), np.nan])
        mine = mhz[figures["clocks"]]
        rows = np.flatnonzero(~np.isnan(mine))
        rows = rows[np.lexsort((figures["cell"][rows], run[rows]))]
        own = np.stack([run[rows], figures["cell"][rows]])
        starts = np.flatnonzero([True, *np.any(own[:, 1:] != own[:, :-1], axis=0)])
        low = np.minimum.reduceat(mine[rows], starts)
        high = np.maximum.reduceat(mine[rows], starts)
        found.append(run[rows][starts[high - low > LARGEST_SHARE * low]])
    return np.unique(np.concatenate(found))


def _read_documents(
    figures: Figures, listing: Listing, rows: "NDArray[Any]", run: "NDArray[Any]",
    wanted: "NDArray[Any]", refused: list[str],
) -> None:  # fmt: skip
    """Work the figures of these runs out from their documents."""
    import numpy as np

    documents, told = Documents(), set(refused)
    figures.take(np.flatnonzero(~np.isin(run, wanted)))
    first, end = np.searchsorted(run, wanted), np.searchsorted(run, wanted, side="right")
    for number, start, stop in zip(wanted.tolist(), first.tolist(), end.tolist(), strict=True):
        paths = []
        for row in rows[start:stop].tolist():
            path, part, at = listing.document(row)
            documents.add_row(path, part, at)
            paths.append(path)
        loaded = load_documents(documents, paths)
        refused.extend(text for text in loaded.refused if text not in told)
        told.update(loaded.refused)
        figures.add(listing.names[number], map(row_of, with_clock_drift(loaded.records)))
    figures.take(np.argsort(figures["run"], kind="stable"))


def _drop_copies(figures: Figures) -> None:
    """Of one replicate in several runs the first counts, as in `read_runs`."""
    import numpy as np

    places = [(node.host, node.device_id) for node in figures.nodes.values]
    number = {place: i for i, place in enumerate(dict.fromkeys(places))}
    where = np.array([number[place] for place in places], np.int64)[figures["node"]]
    keys = [where, *(figures[name] for name in ("start", "replicate", "cell"))]
    order = np.lexsort(keys)
    sorted_ = np.stack(keys)[:, order]
    first = np.ones(len(order), bool)
    first[1:] = np.any(sorted_[:, 1:] != sorted_[:, :-1], axis=0)
    figures.take(np.sort(order[first]))


def _drop_timeless(figures: Figures, refused: list[str]) -> None:
    import numpy as np

    cells, runs, starts = figures.cells.values, figures.runs.values, figures.starts.values
    unknown = np.array([time_of(text) == UNKNOWN for text in starts], bool)[figures["start"]]
    for row in np.flatnonzero(unknown).tolist():
        run, cell, start = (int(figures[name][row]) for name in ("run", "cell", "start"))
        refused.append(str(no_time(runs[run], cells[cell], starts[start])))
    figures.take(np.flatnonzero(~unknown))
