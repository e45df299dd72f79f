"""What a history takes from records, in columns: a row per replicate, a number for each text.

A year of a lab is a million replicates, and few of their texts differ.
"""

__all__ = ["COLUMNS", "NO_CODE", "Codes", "Figures", "Row", "kind_column", "row_of"]

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from alignmeter.analysis.history.result import Node
from alignmeter.analysis.history.settings import Clocks, Flat, clocks_of, flat_of
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import figure_of
from alignmeter.records.record import Record

if TYPE_CHECKING:  # it takes time to import, and few commands want it
    from numpy.typing import NDArray

NO_CODE = -1
"""In place of a number: there is no such text."""
T = TypeVar("T", bound=Hashable)


class Row(NamedTuple):
    """One replicate. ``figures``, ``kinds``: of each of `METRICS`; no kind: an invalid figure."""

    cell: str
    node: Node
    replicate: int
    started: str
    setting: Flat
    clocks: Clocks
    figures: tuple[float | None, ...]
    kinds: tuple[str | None, ...]


def row_of(record: Record, flat: Callable[[Record], Flat] = flat_of) -> Row:
    """What a history takes from it. ``flat``: says what it was made with."""
    said = record.provenance
    found = [figure_of(record, metric) for metric in METRICS.values()]
    return Row(
        cell=record.cell.id,
        node=Node(host=said.host, device=said.device, device_id=said.uuid or said.pci_bus_id or ""),
        replicate=record.replicate,
        started=said.started,
        setting=flat(record),
        clocks=clocks_of(record),
        figures=tuple(value for value, _ in found),
        kinds=tuple(kind for _, kind in found),
    )


class Codes(Generic[T]):
    """A number for each value, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._codes: dict[T, int] = {}

    def __call__(self, value: T | None) -> int:
        """Its number, a new one if need be; `NO_CODE` of ``None``."""
        return NO_CODE if value is None else self._codes.setdefault(value, len(self._codes))

    @property
    def values(self) -> list[T]:
        """In order of their numbers."""
        return list(self._codes)


def kind_column(metric: str) -> str:
    """Beside the column of the metric's figures, which has its name."""
    return f"{metric} kind"


COLUMNS = (
    "run", "cell", "node", "replicate", "start", "setting", "clocks", *map(kind_column, METRICS),
)  # fmt: skip
"""Of whole numbers: a replicate's own, and of the texts beside it. Metrics have columns of floats,
NaN where there is no figure.
"""


class Figures:
    """Columns of equal length, and the texts that their numbers stand for."""

    def __init__(self) -> None:
        self.runs, self.cells, self.nodes = Codes[str](), Codes[str](), Codes[Node]()
        self.starts, self.settings = Codes[str](), Codes[Flat]()
        self.clocks, self.kinds = Codes[Clocks](), Codes[str]()
        self._chunks: list[Mapping[str, NDArray[Any]]] = []

    def add(self, run: str, rows: Iterable[Row]) -> None:
        """Replicates of one run."""
        import numpy as np

        number, rows = self.runs(run), list(rows)
        coded = [
            (
                number, self.cells(row.cell), self.nodes(row.node), row.replicate,
                self.starts(row.started), self.settings(row.setting),
                self.clocks(row.clocks or None), *map(self.kinds, row.kinds),
            )
            for row in rows
        ]  # fmt: skip
        ints = np.array(coded, np.int64).reshape(-1, len(COLUMNS)).T
        values = np.array([row.figures for row in rows], np.float64).reshape(-1, len(METRICS)).T
        self.add_columns(dict(zip((*COLUMNS, *METRICS), (*ints, *values), strict=True)))

    def add_columns(self, chunk: "Mapping[str, NDArray[Any]]") -> None:
        """Rows whose texts have their numbers."""
        self._chunks.append(chunk)

    def __getitem__(self, name: str) -> "NDArray[Any]":
        """A column."""
        return self._whole()[name]

    def add_column(self, name: str, column: "NDArray[Any]") -> None:
        """One more for all rows."""
        self._chunks = [{**self._whole(), name: column}]

    def take(self, rows: "NDArray[Any]") -> None:
        """Keep these rows, in that order."""
        self._chunks = [{name: column[rows] for name, column in self._whole().items()}]

    def _whole(self) -> "Mapping[str, NDArray[Any]]":
        import numpy as np

        if not self._chunks:
            self.add("none", ())
        if len(self._chunks) > 1:
            names = list(self._chunks[0])
            parts = self._chunks
            self._chunks = [{name: np.concatenate([p[name] for p in parts]) for name in names}]
        return self._chunks[0]
