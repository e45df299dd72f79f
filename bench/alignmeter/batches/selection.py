"""Which pairs of a file a cell can take: found once for a tokenizer, P and T, for all workers."""

__all__ = [
    "LEFT_OUT",
    "Selection",
    "SharedRows",
    "check_rows",
    "data_counts",
    "select",
    "share_rows",
]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignmeter.batches.dataset import SYNTHETIC, Dataset, dataset_of, shared_folder
from alignmeter.batches.lengths import Lengths, measure
from alignmeter.batches.shards import PACKAGED
from alignmeter.batches.texts import MappedTexts, Texts
from alignmeter.batches.tokenizer import open_tokenizer
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError, InputError

LEFT_OUT = -1
"""The number of a pair that no step takes."""
Rows = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The pairs whose prompt reaches P. ``rows``: their numbers in the file's order, int32 [pairs],
    ``-1`` for those that are equal once cut: a place in the order is theirs still, so that the
    others keep their own.

    ``counts``: what a record says of the data; ``layout``: of `layouts.LAYOUTS`.
    """

    rows: Rows
    counts: Mapping[str, int]
    layout: str

    @property
    def kept(self) -> int:
        """Pairs that can be taken."""
        return int((self.rows != LEFT_OUT).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRows:
    """What a worker is told of the parent's reading: nothing is read or checked again.

    ``texts``: an Arrow file of pairs. ``rows``: (T, P) -> a NumPy file of `Selection.rows`;
    ``counts``: (T, P) -> `Selection.counts`.
    """

    texts: Path
    layout: str
    rows: Mapping[tuple[int, int], Path]
    counts: Mapping[tuple[int, int], Mapping[str, int]]

    def opened(self, cell: Cell) -> tuple[Texts, Selection]:
        """Texts and selection of one of the cells it was made for."""
        key = cell.seq_len, cell.prompt_len
        rows: Rows = np.load(self.rows[key], mmap_mode="r")
        return MappedTexts(self.texts), Selection(
            rows=rows, counts=self.counts[key], layout=self.layout
        )


_SELECTIONS: dict[tuple[object, ...], Selection] = {}
_LENGTHS: dict[tuple[str, str], Lengths] = {}
_STORED: dict[int, Path] = {}
"""By the identity of a selection, all of which live as long as the process."""


def select(cell: Cell) -> Selection:
    """The rows of a cell's file that it can take.

    Raises `CellError` if the tokenizer cannot be used, and `InputError` as `dataset_of` does.
    """
    dataset = dataset_of(cell)
    key = dataset.digest, cell.model, cell.seq_len, cell.prompt_len
    if key not in _SELECTIONS:
        _SELECTIONS[key] = _selected(dataset, cell)
    return _SELECTIONS[key]


def check_rows(cell: Cell) -> None:
    """Raises `CellError` if no row of the cell's file is a pair, or if fewer than B can be taken;
    and as `select` does. Synthetic data always fit.
    """
    if cell.data == SYNTHETIC:
        return
    dataset = dataset_of(cell)
    if not dataset.found.pairs:
        raise CellError(
            "unsupported",
            "no_pairs",
            f"{dataset.note()}; give a prompt and two answers that differ",
        )
    selection = select(cell)
    reaching, pairs, B = len(selection.rows), dataset.found.pairs, cell.batch
    if reaching < B:
        raise CellError(
            "unsupported",
            "data_too_short",
            f"{reaching} of {pairs} prompts have {cell.prompt_len} tokens or more, the batch "
            f"needs {B}; lower --prompt-len, or use --data synthetic or longer data",
        )
    if selection.kept < B:
        raise CellError(
            "unsupported",
            "pairs_equal",
            f"{cell.data}: {reaching - selection.kept} of {reaching} pairs are equal once their "
            f"answers are cut to {cell.seq_len - cell.prompt_len} tokens, the batch needs {B} "
            "others; raise --seq-len, or lower --prompt-len",
        )


def data_counts(cell: Cell) -> dict[str, int]:
    """What a record says of the cell's data, also where no worker ran; nothing of synthetic ones.

    Raises as `select` does.
    """
    return {} if cell.data == SYNTHETIC else dict(select(cell).counts)


def share_rows(*cells: Cell) -> SharedRows | None:
    """What the workers of these cells are told: the first, and the same at shorter sequences.

    ``None`` where there is nothing to read: what is synthetic, and what comes with the package.
    Raises as `check_rows` does, and `InputError` where nothing can be written.
    """
    if cells[0].data in (SYNTHETIC, PACKAGED):
        return None
    check_rows(cells[0])
    dataset = dataset_of(cells[0])
    keyed = {}
    for cell in cells:
        # A shorter cut can make too many pairs equal: it then takes those that the first cell does.
        found = select(cell)
        keyed[cell.seq_len, cell.prompt_len] = (
            found if found.kept >= cell.batch else select(cells[0])
        )
    if dataset.path is None:
        raise ValueError(f"{cells[0].data} was not stored")
    return SharedRows(
        texts=dataset.path,
        layout=dataset.found.layout,
        rows={key: _stored(selection) for key, selection in keyed.items()},
        counts={key: selection.counts for key, selection in keyed.items()},
    )


def _stored(selection: Selection) -> Path:
    """The file of its rows, written once."""
    if id(selection) not in _STORED:
        path = shared_folder() / f"rows-{len(_STORED)}.npy"
        try:
            np.save(path, selection.rows)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written: {error}; TMPDIR should name a folder with room"
            ) from error
        _STORED[id(selection)] = path
    return _STORED[id(selection)]


def _selected(dataset: Dataset, cell: Cell) -> Selection:
    lengths = _measured(dataset, cell)
    long_enough = lengths.prompts >= cell.prompt_len
    equal = lengths.equal_once_cut(cell.seq_len - cell.prompt_len - 1) & long_enough
    rows = np.arange(len(long_enough), dtype=np.int32)
    # The packaged set keeps all of its pairs: which steps see which is what records agree on.
    packaged = dataset.data == PACKAGED
    rows = (rows if packaged else np.where(equal, LEFT_OUT, rows))[long_enough].astype(np.int32)
    short, cut = int((~long_enough).sum()), int(equal.sum())
    kept = int((rows != LEFT_OUT).sum())
    counts = {"pairs_kept": kept, "pairs_dropped": dataset.found.rows - kept, **dataset.counts}
    more = {
        "dropped_prompt_short": short,
        ("kept_equal_once_cut" if packaged else "dropped_equal_once_cut"): cut,
    }
    counts |= {name: count for name, count in more.items() if count}
    return Selection(rows=rows, counts=counts, layout=dataset.found.layout)


def _measured(dataset: Dataset, cell: Cell) -> Lengths:
    """Lengths in the tokens of the cell's model, once for a file."""
    key = dataset.digest, cell.model
    if key not in _LENGTHS:
        _LENGTHS[key] = measure(dataset.texts, open_tokenizer(cell))
    return _LENGTHS[key]
