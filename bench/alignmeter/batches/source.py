"""Batches of a cell's rows: which rows a step takes, and what is padded, packed or neither."""

__all__ = ["BatchSource", "Shape", "data_digest", "open_batches"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from alignmeter.batches.batch import Batch, BatchRows
from alignmeter.batches.dataset import dataset_of, open_dataset
from alignmeter.batches.drawn import SYNTHETIC, drawn_texts, is_drawn, recipe
from alignmeter.batches.layouts import PROMPTS
from alignmeter.batches.lengths import Numbers
from alignmeter.batches.preferences import PAIRS
from alignmeter.batches.rows import DrawnRows, Rows, TextRows, synthetic_rows
from alignmeter.batches.selection import LEFT_OUT, SharedRows, check_rows, select
from alignmeter.batches.spans import Spans
from alignmeter.batches.tokenizer import DRAWN_IDS, SpecialIds, open_tokenizer
from alignmeter.cells.cell import Cell, digest
from alignmeter.cells.columns import AUTO, DROP
from alignmeter.errors import InputError
from alignmeter.registry import METHODS

Side = tuple[int, Literal[1, 2]]
"""A row of ids: the number of its pair, and which answer of it, as `BatchSource.lengths` has it."""
_CHOSEN: Literal[1] = 1
_REJECTED: Literal[2] = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Of a batch, known without its tokens: of each row the prompt's tokens and all."""

    prompts: tuple[int, ...]
    lengths: tuple[int, ...]
    pairs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource:
    """The usable pairs in the seed's order. Only the rows of a batch in use are tokens.

    lengths: int32 [pairs, 3], tokens of each prompt and of its rows with either answer (0: it has
    none), where rows have lengths of their own; else ``None``. batching: of the axis of that name.
    by_prompt: prompts alone are padded, since the step samples its responses. kind: of
    `Preferences.kind`. counts: what the record says of the data. layout: how the file holds its
    pairs. step_rows: rows of a batch of chosen answers, which need not be even; 0: 2B. pad: id that
    fills rows up. tokenizer: name of what made the ids.
    """

    rows: Rows
    seq_len: int
    prompt_len: int
    batch: int
    group: int
    counts: Mapping[str, int]
    layout: str
    pad: int
    eos: int
    tokenizer: str
    seed: int = 0
    lengths: Numbers | None = None
    batching: str = "fixed"
    by_prompt: bool = False
    kind: str = PAIRS
    step_rows: int = 0
    _by_length: dict[BatchRows, Numbers] = field(default_factory=dict, init=False, repr=False)

    @property
    def kept(self) -> int:
        """Pairs that steps take."""
        return len(self.rows)

    def take(self, step: int, device: torch.device, rows: BatchRows = "pairs") -> Batch:
        """The batch of one step on ``device``, from consecutive pairs, starting again at the end.

        ``pairs`` takes both answers of B pairs, ``chosen`` the chosen ones of 2B, ``groups`` those
        of ``2B / group``, each ``group`` times in a row, ``unpaired`` 2B answers of any kind, which
        of pairs are both of B. ``bucketed`` pairs are consecutive by length, and their batches come
        in an order of the seed's.
        """
        count = self.pairs_of_step(rows)
        if self.batching == "bucketed":
            index = self._bucket(step, count, rows)
        else:
            index = tuple((step * count + i) % self.kept for i in range(count))
        return self._batch(self._sides(index, rows), index, device, rows)

    def longest(self, device: torch.device, rows: BatchRows = "pairs") -> Batch:
        """The batch that needs most memory: of rows as long as any. Raises `ValueError` where all
        are of one length.
        """
        index = self._longest(rows)
        return self._batch(self._sides(index, rows), index, device, rows)

    def longest_shape(self, rows: BatchRows = "pairs") -> Shape:
        """That of `longest`, from lengths alone. Raises `ValueError` as that does."""
        index = self._longest(rows)
        sides = self._sides(index, rows)
        found = self._own_lengths()[[number for number, _ in sides]]
        prompts = tuple(int(row[0]) for row in found)
        lengths = tuple(int(row[side]) for row, (_, side) in zip(found, sides, strict=True))
        return Shape(prompts=prompts, lengths=lengths, pairs=index)

    def pairs_of_step(self, rows: BatchRows) -> int:
        """Pairs, or single rows of a file without pairs, behind the 2B rows of a batch."""
        if rows == "pairs" or (rows == "unpaired" and self.kind == PAIRS):
            return self.batch
        whole = self.step_rows or 2 * self.batch  # only methods of chosen rows have the former
        return whole // (self.group if rows == "groups" else 1)

    def _sides(self, index: Sequence[int], rows: BatchRows) -> list[Side]:
        """The rows of a batch of those pairs."""
        if rows == "unpaired" and self.kind != PAIRS:
            return [(number, self._answer_of(number)) for number in index]
        copies = self.group if rows == "groups" else 1
        chosen: list[Side] = [(number, _CHOSEN) for number in index for _ in range(copies)]
        both = rows in ("pairs", "unpaired")
        return chosen + ([(number, _REJECTED) for number in index] if both else [])

    def _answer_of(self, number: int) -> Literal[1, 2]:
        """The one answer of a row that is no pair."""
        there = self.rows[number][0] if self.lengths is None else self.lengths[number, _CHOSEN]
        return _CHOSEN if there else _REJECTED

    def _own_lengths(self) -> Numbers:
        if self.lengths is None:
            raise ValueError("rows of one length have no longest ones")
        return self.lengths

    def _reach(self, rows: BatchRows) -> tuple[Numbers, Numbers]:
        """[pairs] each: tokens that a pair brings into a batch, of its longest row or, packed, of
        all; and those of its longest response.
        """
        lengths = self._own_lengths()
        if self.by_prompt:
            return lengths[:, 0], np.zeros_like(lengths[:, 0])
        sides = lengths[:, 1:2] if rows in ("chosen", "groups") else lengths[:, 1:]
        tokens = sides.sum(axis=1) if self.batching == "packed" else sides.max(axis=1)
        return tokens, (sides - lengths[:, :1]).max(axis=1)

    def _longest(self, rows: BatchRows) -> tuple[int, ...]:
        """Numbers of the pairs of most tokens, the one with the longest response among them."""
        tokens, widths = self._reach(rows)
        count = self.pairs_of_step(rows)
        order = np.lexsort((-widths, -tokens))
        index = [int(order[i % self.kept]) for i in range(count)]
        widest = int(widths.argmax())
        if count > 1 and widths[widest] > widths[index].max():
            index[-1] = widest
        return tuple(index)

    def _bucket(self, step: int, count: int, rows: BatchRows) -> tuple[int, ...]:
        """Numbers of the pairs of that step: neighbours by length. Where they do not come out even
        the longest batch has some of the one before.
        """
        if rows not in self._by_length:
            self._by_length[rows] = np.argsort(self._reach(rows)[0], kind="stable")
        order = self._by_length[rows]
        batches = -(-self.kept // count)
        generator = torch.Generator().manual_seed(self.seed)
        number = int(torch.randperm(batches, generator=generator)[step % batches])
        first = min(number * count, max(self.kept - count, 0))
        return tuple(int(order[(first + i) % self.kept]) for i in range(count))

    def _batch(
        self, sides: list[Side], pairs: tuple[int, ...], device: torch.device, rows: BatchRows
    ) -> Batch:
        made = {number: self.rows[number] for number in pairs}  # once, whatever it is asked for
        ids = [made[number][side - 1] for number, side in sides]
        if self.lengths is None:
            lengths = torch.tensor([len(row) - self.prompt_len for row in ids])
            mask = torch.arange(self.seq_len - self.prompt_len) < lengths.unsqueeze(1)
            spans, prompt_len, longest = None, self.prompt_len, self.seq_len
        else:
            prompts = [int(self.lengths[number, 0]) for number, _ in sides]
            prompt_len, longest = min(prompts), max(map(len, ids))
            packs = self.batching == "packed"
            counts = list(map(len, ids))
            spans = Spans.of(prompts, counts, device, row_len=longest, packs=packs)
            mask = spans.mask
        padded = [row + [self.pad] * (longest - len(row)) for row in ids]
        return Batch(
            ids=torch.tensor(padded, device=device),
            response_mask=mask.float().to(device),
            prompt_len=prompt_len,
            eos=self.eos,
            real_tokens=sum(len(row) for row in ids),
            pairs=pairs,
            spans=spans,
            desirable=self._desirable(sides, device) if rows == "unpaired" else None,
        )

    def _desirable(self, sides: list[Side], device: torch.device) -> torch.Tensor | None:
        """[2B] bool; of pairs the first half is, which needs no tensor."""
        if self.kind == PAIRS:
            return None
        return torch.tensor([side == _CHOSEN for _, side in sides], device=device)


def data_digest(data: str, columns: str = AUTO, bad_rows: str = DROP) -> str:
    """SHA-256 of the data's bytes, or of the recipe of drawn tokens; with ``columns`` that were
    named, of these too.

    Raises `InputError` for a malformed file and for columns that are not there, so that a run finds
    out before its first worker.
    """
    if is_drawn(data):
        if columns != AUTO:
            raise InputError(
                f"columns {columns} are those of a file, and {data} data have none; leave them out"
            )
        return digest(recipe(data))
    return open_dataset(data, columns, bad_rows).digest


def open_batches(
    cell: Cell, *, vocab_size: int, seed: int, shared: SharedRows | None = None
) -> BatchSource:
    """The cell's rows in the order of ``seed``. ``shared``: what another process read of them.

    A prompt longer than P keeps its last P tokens. With ``batching = fixed`` a pair with a shorter
    one is dropped and counted (there is no left padding: Mamba gets it wrong); else rows have their
    own lengths, T at most. A pair is dropped too if its answers are equal once cut. Raises
    `CellError` if fewer than B remain.
    """
    generator = torch.Generator().manual_seed(seed)
    if cell.data == SYNTHETIC:
        return _synthetic(cell, vocab_size, generator, seed)
    if shared is None:
        check_rows(cell)
        selection, texts = select(cell), None
    else:
        texts, selection = shared.opened(cell)
    order = torch.randperm(len(selection.rows), generator=generator).numpy()
    order = order[selection.rows[order] != LEFT_OUT]
    taken: Numbers = selection.rows[order]
    limits = {"prompt_len": cell.prompt_len, "seq_len": cell.seq_len}
    rows: Rows
    if is_drawn(cell.data):
        drawn = drawn_texts(cell.data, vocab_size=vocab_size, seed=seed)
        rows, ids = DrawnRows(texts=drawn, order=taken, **limits), DRAWN_IDS
    else:
        ids = open_tokenizer(cell)
        found = dataset_of(cell).texts if texts is None else texts
        bare = selection.kind == PROMPTS
        rows = TextRows(texts=found, order=taken, tokenizer=ids, bare=bare, **limits)
    return _source(
        cell,
        rows,
        ids,
        seed,
        counts=selection.counts,
        layout=selection.layout,
        lengths=None if selection.lengths is None else selection.lengths[order],
        kind=selection.kind,
    )


def _source(
    cell: Cell,
    rows: Rows,
    ids: SpecialIds,
    seed: int,
    *,
    counts: Mapping[str, int],
    lengths: Numbers | None,
    layout: str = "",
    kind: str = PAIRS,
) -> BatchSource:
    return BatchSource(
        rows=rows,
        seq_len=cell.seq_len,
        prompt_len=cell.prompt_len,
        batch=cell.batch,
        group=cell.group,
        counts=counts,
        layout=layout,
        pad=ids.pad,
        eos=ids.eos,
        tokenizer=ids.name,
        seed=seed,
        lengths=lengths,
        batching=cell.batching,
        by_prompt=METHODS[cell.method].rollouts,
        kind=kind,
        step_rows=cell.rows,
    )


def _synthetic(cell: Cell, vocab_size: int, generator: torch.Generator, seed: int) -> BatchSource:
    rows = synthetic_rows(cell, vocab_size, generator)
    own = None
    if cell.batching != "fixed":
        own = np.array([[cell.prompt_len, cell.seq_len, cell.seq_len]] * len(rows), dtype=np.int32)
    counts = {"pairs_kept": len(rows), "pairs_dropped": 0}
    return _source(cell, rows, DRAWN_IDS, seed, counts=counts, lengths=own)
