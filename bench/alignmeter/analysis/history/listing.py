"""Where the records of a store lie, and to which run each belongs, by numbers in place of paths."""

__all__ = ["Listing"]

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmeter.analysis.history.figures import Codes
from alignmeter.records.documents import OTHERS, PATH, RUN_FILE, parts_of

if TYPE_CHECKING:  # they take time to import
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

_Parts = tuple[str, ...]
"""Of a path."""


class Listing:
    """``names``: of the runs, in the order in which they are read.

    Raises `InputError` for a store of another version.
    """

    def __init__(self, store: Path) -> None:
        self.parts = parts_of(store)
        self.names: list[str] = []
        self._store = store
        self._chunks: list[NDArray[Any]] = []
        self._folders, self._files = Codes[str](), Codes[str]()
        self._run_folders: set[_Parts] = set()

    def add(self, file: "pq.ParquetFile", number: int) -> bool:
        """Note the paths in that one of the `parts`; whether it holds records."""
        import numpy as np

        paths: list[Any] = file.read(columns=[PATH]).column(0).to_pylist()
        split = [path.rpartition("/") for path in paths]
        if self.parts[number].parent.name == OTHERS:
            self._run_folders |= {_parts(f) for f, _, name in split if name == RUN_FILE}
            return False
        coded = [
            (self._folders(folder), self._files(name), number, row)
            for row, (folder, _, name) in enumerate(split)
        ]
        self._chunks.append(np.array(coded, np.int64).reshape(-1, 4))
        return True

    def order(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """The rows that stand among all that were added, run by run, and the number of each's run.

        Of several rows of one path the last that was compacted stands.
        """
        import numpy as np

        self._chunks = [rows] = [np.concatenate([np.zeros((0, 4), np.int64), *self._chunks])]
        folders = [_parts(folder) for folder in self._folders.values]
        runs = [self._run_of(folder) for folder in folders]
        own = self._store.resolve().name
        in_order = sorted(set(runs), key=lambda run: (-len(run), run))  # as `runs_of` has them
        self.names = ["/".join(run) or own for run in in_order]
        number = {run: i for i, run in enumerate(in_order)}
        run = np.array([number[run] for run in runs], np.int64)[rows[:, 0]]
        folder, file = _ranks(folders)[rows[:, 0]], _ranks(self._files.values)[rows[:, 1]]
        order = np.lexsort((file, folder, run))
        own_path = np.stack([folder[order], file[order]])
        last = np.any(np.diff(own_path, axis=1, append=-1) != 0, axis=0)
        return order[last], run[order[last]]

    def _run_of(self, folder: _Parts) -> _Parts:
        above = (folder[:n] for n in range(len(folder), -1, -1))
        return next((place for place in above if place in self._run_folders), folder)

    def document(self, row: int) -> tuple[Path, Path, int]:
        """Path of the document in one of the rows, and its part with the row there."""
        folder, file, part, at = self._chunks[0][row].tolist()
        path = self._store / self._folders.values[folder] / self._files.values[file]
        return path, self.parts[part], at


def _parts(folder: str) -> _Parts:
    return tuple(filter(None, folder.split("/")))


def _ranks(values: Sequence[Any]) -> "NDArray[Any]":
    import numpy as np

    place = {value: number for number, value in enumerate(sorted(values))}
    return np.array([place[value] for value in values], np.int64)
