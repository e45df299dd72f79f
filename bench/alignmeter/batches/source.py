"""Fixed-shape batches: prompts of exactly P tokens, responses padded on the right to T."""

__all__ = ["Batch", "BatchSource", "data_digest", "open_batches"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from alignmeter.batches.dataset import SYNTHETIC, dataset_of, open_dataset
from alignmeter.batches.lengths import Numbers
from alignmeter.batches.selection import LEFT_OUT, Selection, SharedRows, check_rows, select
from alignmeter.batches.texts import Texts
from alignmeter.batches.tokenizer import FIRST_BYTE, PAD, Tokenizer, open_tokenizer
from alignmeter.cells.cell import Cell, digest
from alignmeter.cells.columns import AUTO, DROP
from alignmeter.errors import InputError

_SYNTHETIC_PAIRS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B pairs as 2B rows, chosen rows first.

    Padding needs no attention mask: it is on the right, both model families are causal, and
    ``response_mask`` keeps it out of every loss.

    ids: [2B, T] int64. response_mask: [2B, T-P], 1 where a response token is real.
    real_tokens: how many of ``ids`` are not padding, counted on the host.
    pairs: number of the pair behind each chosen row.
    rollout: tokens [2B, T] that PPO takes instead of sampling its own.
    """

    ids: torch.Tensor
    response_mask: torch.Tensor
    prompt_len: int
    real_tokens: int
    pairs: tuple[int, ...]
    rollout: torch.Tensor | None = None

    @property
    def prompts(self) -> torch.Tensor:
        """[2B, P]: each prompt twice, one row for each of its two answers."""
        return self.ids[:, : self.prompt_len]

    @property
    def padded_tokens(self) -> int:
        """How many of ``ids`` are padding."""
        return self.ids.numel() - self.real_tokens

    @property
    def last_token(self) -> torch.Tensor:
        """[2B]: position of each row's last real token."""
        return self.prompt_len - 1 + self.response_mask.sum(1).long()


class Rows(Protocol):
    """Pairs as ids by number: P prompt tokens and 1 to T-P response tokens, unpadded."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, number: int, /) -> tuple[list[int], list[int]]:
        """The chosen row of one of them and its rejected row."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource:
    """The usable pairs in the seed's order. Only the rows of a batch in use are tokens.

    counts: what the record says of the data. layout: how the file holds its pairs. pad: id that
    fills rows up. tokenizer: name of what made the ids.
    """

    rows: Rows
    seq_len: int
    prompt_len: int
    batch: int
    counts: Mapping[str, int]
    layout: str
    pad: int
    tokenizer: str

    @property
    def kept(self) -> int:
        """Pairs that steps take."""
        return len(self.rows)

    def take(
        self, step: int, device: torch.device, rows: Literal["pairs", "chosen"] = "pairs"
    ) -> Batch:
        """The batch of one step on ``device``, from consecutive pairs, starting again at the end.

        ``pairs`` takes both answers of B pairs, ``chosen`` the chosen ones of 2B.
        """
        count = self.batch if rows == "pairs" else 2 * self.batch
        index = tuple((step * count + i) % self.kept for i in range(count))
        sides = [self.rows[i] for i in index]
        chosen = [side for side, _ in sides]
        rejected = [side for _, side in sides] if rows == "pairs" else []
        return self._batch(chosen + rejected, index, device)

    def _batch(self, rows: list[list[int]], pairs: tuple[int, ...], device: torch.device) -> Batch:
        lengths = torch.tensor([len(row) - self.prompt_len for row in rows])
        mask = torch.arange(self.seq_len - self.prompt_len) < lengths.unsqueeze(1)
        padded = [row + [self.pad] * (self.seq_len - len(row)) for row in rows]
        return Batch(
            ids=torch.tensor(padded, device=device),
            response_mask=mask.float().to(device),
            prompt_len=self.prompt_len,
            real_tokens=sum(len(row) for row in rows),
            pairs=pairs,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TextRows:
    """Tokens made as they are asked for. ``order``: the number in ``texts`` of each row."""

    texts: Texts
    order: Numbers
    tokenizer: Tokenizer
    prompt_len: int
    response_len: int

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[list[int], list[int]]:
        pair = self.texts[int(self.order[number])]
        prompt = self.tokenizer.encode(pair.prompt)[-self.prompt_len :]
        return prompt + self._answer(pair.chosen), prompt + self._answer(pair.rejected)

    def _answer(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text)[: self.response_len - 1], self.tokenizer.eos]


def data_digest(data: str, columns: str = AUTO, bad_rows: str = DROP) -> str:
    """SHA-256 of the data's bytes, or of the recipe of the synthetic tokens; with ``columns`` that
    were named, of these too.

    Raises `InputError` for a malformed file and for columns that are not there, so that a run finds
    out before its first worker.
    """
    if data == SYNTHETIC:
        if columns != AUTO:
            raise InputError(
                f"columns {columns} are those of a file, and {data} data have none; leave them out"
            )
        return digest(["synthetic", _SYNTHETIC_PAIRS, FIRST_BYTE])
    return open_dataset(data, columns, bad_rows).digest


def open_batches(
    cell: Cell, *, vocab_size: int, seed: int, shared: SharedRows | None = None
) -> BatchSource:
    """The cell's rows in the order of ``seed``. ``shared``: what another process read of them.

    A prompt longer than P keeps its last P tokens; a pair with a shorter one is dropped and counted
    (there is no left padding: Mamba gets it wrong), and so is one whose answers are equal once cut.
    Raises `CellError` if fewer than B remain.
    """
    generator = torch.Generator().manual_seed(seed)
    if cell.data == SYNTHETIC:
        return _synthetic(cell, vocab_size, generator)
    tokenizer = open_tokenizer(cell)
    if shared is None:
        check_rows(cell)
        texts, selection = dataset_of(cell).texts, select(cell)
    else:
        texts, selection = shared.opened(cell)
    rows = _TextRows(
        texts=texts,
        order=_shuffled(selection, generator),
        tokenizer=tokenizer,
        prompt_len=cell.prompt_len,
        response_len=cell.seq_len - cell.prompt_len,
    )
    return BatchSource(
        rows=rows,
        seq_len=cell.seq_len,
        prompt_len=cell.prompt_len,
        batch=cell.batch,
        counts=selection.counts,
        layout=selection.layout,
        pad=tokenizer.pad,
        tokenizer=tokenizer.name,
    )


def _shuffled(selection: Selection, generator: torch.Generator) -> Numbers:
    """The pairs to take, in the generator's order of all whose prompt is long enough."""
    order = torch.randperm(len(selection.rows), generator=generator).numpy()
    found = selection.rows[order]
    taken: Numbers = found[found != LEFT_OUT]
    return taken


def _synthetic(cell: Cell, vocab_size: int, generator: torch.Generator) -> BatchSource:
    shape = (2, max(_SYNTHETIC_PAIRS, cell.batch), cell.seq_len)
    ids = torch.randint(FIRST_BYTE, vocab_size, shape, generator=generator)
    ids[1, :, : cell.prompt_len] = ids[0, :, : cell.prompt_len]
    rows = list(zip(ids[0].tolist(), ids[1].tolist(), strict=True))
    return BatchSource(
        rows=rows,
        seq_len=cell.seq_len,
        prompt_len=cell.prompt_len,
        batch=cell.batch,
        counts={"pairs_kept": len(rows), "pairs_dropped": 0},
        layout="",
        pad=PAD,
        tokenizer="synthetic",
    )
