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

from alignmeter.batches.dataset import Dataset, dataset_of, shared_folder
from alignmeter.batches.drawn import SYNTHETIC, is_drawn, table_of
from alignmeter.batches.layouts import PROMPTS, UNPAIRED
from alignmeter.batches.lengths import Lengths, lengths_of_table, measure
from alignmeter.batches.preferences import PAIRS
from alignmeter.batches.shards import PACKAGED
from alignmeter.batches.texts import MappedTexts, Texts
from alignmeter.batches.tokenizer import open_tokenizer
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError, InputError
from alignmeter.registry import METHODS
from alignmeter.text import counted

LEFT_OUT = -1
"""The number of a pair that no step takes."""
Rows = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The pairs whose prompt reaches P, or with lengths of their own all that have a prompt.

    ``rows``: their numbers in the file's order, int32 [pairs], ``-1`` for those that are equal once
    cut: a place in the order is theirs still, so that the others keep their own.
    ``counts``: what a record says of the data; ``layout``: of `layouts.LAYOUTS`. ``lengths``: of
    those ``rows`` with lengths of their own, as `Lengths.cut` has them; else ``None``.
    ``kind``: of `Preferences.kind`.
    """

    rows: Rows
    counts: Mapping[str, int]
    layout: str
    lengths: Rows | None = None
    kind: str = PAIRS

    @property
    def kept(self) -> int:
        """Pairs that can be taken."""
        return int((self.rows != LEFT_OUT).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRows:
    """What a worker is told of the parent's reading: nothing is read or checked again.

    ``texts``: an Arrow file of pairs. ``rows``: (T, P) -> a NumPy file of `Selection.rows`;
    ``counts``: (T, P) -> `Selection.counts`; ``lengths``: (T, P) -> `Selection.lengths`, if any.
    """

    texts: Path
    layout: str
    kind: str
    rows: Mapping[tuple[int, int], Path]
    counts: Mapping[tuple[int, int], Mapping[str, int]]
    lengths: Mapping[tuple[int, int], Path]

    def opened(self, cell: Cell) -> tuple[Texts, Selection]:
        """Texts and selection of one of the cells it was made for."""
        key = cell.seq_len, cell.prompt_len
        rows: Rows = np.load(self.rows[key], mmap_mode="r")
        lengths = np.load(self.lengths[key], mmap_mode="r") if key in self.lengths else None
        return MappedTexts(self.texts), Selection(
            rows=rows,
            counts=self.counts[key],
            layout=self.layout,
            lengths=lengths,
            kind=self.kind,
        )


_SELECTIONS: dict[tuple[object, ...], Selection] = {}
_LENGTHS: dict[tuple[str, str], Lengths] = {}
_STORED: dict[int, Path] = {}
"""By the identity of an array of a selection, all of which live as long as the process."""


def select(cell: Cell) -> Selection:
    """The rows of a cell's file, or of its table of lengths, that it can take.

    Raises `CellError` if the tokenizer cannot be used, and `InputError` as `dataset_of` does.
    """
    ragged = cell.batching != "fixed"
    key = cell.data_digest, cell.model, cell.seq_len, cell.prompt_len, ragged
    if is_drawn(cell.data):
        if key not in _SELECTIONS:
            lengths = lengths_of_table(table_of(cell.data))
            _SELECTIONS[key] = _selected(lengths, cell, {"rows": len(lengths.prompts)}, "")
        return _SELECTIONS[key]
    dataset = dataset_of(cell)
    key = dataset.digest, *key[1:]
    if key not in _SELECTIONS:
        found = dataset.found
        _SELECTIONS[key] = _selected(
            _measured(dataset, cell), cell, dataset.counts, found.layout, kind=found.kind
        )
    return _SELECTIONS[key]


def check_rows(cell: Cell) -> None:
    """Raises `CellError` if no row of the cell's file is a pair, or if fewer than B can be taken;
    and as `select` does. Synthetic data always fit.
    """
    if cell.data == SYNTHETIC:
        return
    if is_drawn(cell.data):
        pairs = len(table_of(cell.data))
    else:
        dataset = dataset_of(cell)
        pairs = dataset.found.pairs
        if not pairs:
            text = f"{dataset.note()}; give a prompt and two answers that differ"
            raise CellError("unsupported", "no_pairs", text)
        _check_kind(cell, dataset.found.kind)
    selection = select(cell)
    reaching, B = len(selection.rows), cell.batch
    if reaching < B and cell.batching != "fixed":
        raise CellError(
            "unsupported",
            "data_too_short",
            f"{cell.data}: {counted(reaching, 'row')} can be taken, the batch needs {B}; lower "
            "--batch, or use --data synthetic or more data",
        )
    if reaching < B:
        raise CellError(
            "unsupported",
            "data_too_short",
            f"{reaching} of {pairs} prompts have {cell.prompt_len} tokens or more, the batch "
            f"needs {B}; lower --prompt-len, keep short prompts with --batching padded, or use "
            "--data synthetic or longer data",
        )
    if selection.kept < B:
        raise CellError(
            "unsupported",
            "pairs_equal",
            f"{cell.data}: {reaching - selection.kept} of {reaching} pairs are equal once their "
            f"answers are cut to {cell.seq_len - cell.prompt_len} tokens, the batch needs {B} "
            "others; raise --seq-len, or lower --prompt-len",
        )


def _check_kind(cell: Cell, kind: str) -> None:
    """Raises `CellError` if the file's rows are not what the method trains on."""
    row = METHODS[cell.method]
    if kind == UNPAIRED and not row.unpaired:
        users = " or ".join(name for name, other in METHODS.items() if other.unpaired)
        text = f"{cell.data} holds completions with a label, data of {users}; {cell.method} wants "
        text += "prompts, alone or with" if row.rollouts else "prompts with"
        raise CellError("unsupported", "rows_unfit", f"{text} chosen and rejected answers")
    if kind == PROMPTS and not row.rollouts:
        users = ", ".join(name for name, other in METHODS.items() if other.rollouts)
        text = f"{cell.data} holds prompts without answers, data of {users}; {cell.method} wants "
        raise CellError("unsupported", "rows_unfit", f"{text}chosen and rejected answers too")
    if kind == PROMPTS and cell.reward == "exact-match":
        raise CellError(
            "unsupported",
            "rows_unfit",
            f"{cell.data} holds prompts without answers, and reward exact-match compares with the "
            "chosen one; give answers too, or another reward",
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
    if is_drawn(cells[0].data) or cells[0].data == PACKAGED:
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
        kind=dataset.found.kind,
        rows={key: _stored(selection.rows) for key, selection in keyed.items()},
        counts={key: selection.counts for key, selection in keyed.items()},
        lengths={
            key: _stored(selection.lengths)
            for key, selection in keyed.items()
            if selection.lengths is not None
        },
    )


def _stored(rows: Rows) -> Path:
    """The file of that array of a selection, written once."""
    if id(rows) not in _STORED:
        path = shared_folder() / f"rows-{len(_STORED)}.npy"
        try:
            np.save(path, rows)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written: {error}; TMPDIR should name a folder with room"
            ) from error
        _STORED[id(rows)] = path
    return _STORED[id(rows)]


def _selected(
    lengths: Lengths, cell: Cell, counted_rows: Mapping[str, int], layout: str, *, kind: str = PAIRS
) -> Selection:
    """``counted_rows``: ``rows``, and those that are no pair by kind.

    ``kind``: of `Preferences.kind`; the two answers of pairs may be equal once they are cut.
    """
    T, P = cell.seq_len, cell.prompt_len
    ragged = cell.batching != "fixed"
    long_enough = lengths.prompts >= (1 if ragged else P)
    room = T - np.minimum(lengths.prompts, P) - 1 if ragged else T - P - 1
    equal = (
        lengths.equal_once_cut(room) & long_enough if kind == PAIRS else np.zeros_like(long_enough)
    )
    rows = np.arange(len(long_enough), dtype=np.int32)
    # The packaged set keeps all of its pairs: which steps see which is what records agree on.
    packaged = cell.data == PACKAGED
    rows = (rows if packaged else np.where(equal, LEFT_OUT, rows))[long_enough].astype(np.int32)
    short, cut = int((~long_enough).sum()), int(equal.sum())
    kept = int((rows != LEFT_OUT).sum())
    dropped = counted_rows["rows"] - kept
    counts = {"pairs_kept": kept, "pairs_dropped": dropped, **counted_rows}
    more = {
        "dropped_prompt_short": short,
        ("kept_equal_once_cut" if packaged else "dropped_equal_once_cut"): cut,
    }
    counts |= {name: count for name, count in more.items() if count}
    own = lengths.cut(P, T, bare=kind == PROMPTS)[long_enough] if ragged else None
    return Selection(rows=rows, counts=counts, layout=layout, lengths=own, kind=kind)


def _measured(dataset: Dataset, cell: Cell) -> Lengths:
    """Lengths in the tokens of the cell's model, once for a file."""
    key = dataset.digest, cell.model
    if key not in _LENGTHS:
        _LENGTHS[key] = measure(dataset.texts, open_tokenizer(cell))
    return _LENGTHS[key]
