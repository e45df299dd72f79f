"""The files of a data set: one, or the shards of a folder, none of them lost."""

__all__ = ["PACKAGED", "shards_of"]

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from alignmeter.batches.content import kind_of_name
from alignmeter.cells.places import place_of
from alignmeter.errors import InputError
from alignmeter.text import counted, shown_path

PACKAGED = "packaged"
_SPLITS = frozenset(("train", "test", "validation", "valid", "val", "dev", "eval"))
_NUMBERED = re.compile(r"(.*?)(\d+)[-_.]?of[-_.]?(\d+)", re.IGNORECASE)
"""``train-00003-of-00005.parquet``, as the datasets library names shards
(https://huggingface.co/docs/hub/datasets-file-names-and-splits).
"""


def shards_of(data: str) -> list[tuple[str, Traversable]]:
    """Name for people and file of each shard, in name order; a file is the one shard of itself.

    ``packaged`` is the set that comes with alignmeter. Files of a folder that are no tables are
    left out, and so are hidden ones. Raises `InputError` for a folder without shards, for one with
    several kinds or splits, and for one that has lost a shard.
    """
    if data == PACKAGED:
        return [(PACKAGED, resources.files("alignmeter.batches") / "preferences.jsonl")]
    path, shown = Path(place_of(data)), shown_path(data)
    try:
        if not path.is_dir():
            return [(shown, path)]
        names = sorted(_tables(path))
        below = "" if names else _below(path)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror or error}") from error
    if not names:
        raise InputError(
            f"{shown}: a folder without .jsonl, .json, .csv, .tsv or .parquet files{below}"
        )
    _check_alike(names, shown)
    _check_complete(path, names, shown)
    return [(shown_path(f"{data.rstrip('/')}/{name}"), path / name) for name in names]


def _tables(folder: Path) -> Iterator[str]:
    """Names in a folder that are those of tables, whether or not a file is behind them."""
    for file in folder.iterdir():
        if file.name[0] not in "._" and kind_of_name(file.name) is not None and not file.is_dir():
            yield file.name


def _below(folder: Path) -> str:
    """The folder one or two deeper that has tables, where there is one."""
    deeper = itertools.islice(
        (f for at in ("*", "*/*") for f in sorted(folder.glob(at)) if f.is_dir()), 64
    )
    found = next((place for place in deeper if any(_tables(place))), None)
    return (
        ""
        if found is None
        else f"; {shown_path(str(found.relative_to(folder)), 60)} in it has some"
    )


def _check_alike(names: Sequence[str], shown: str) -> None:
    kinds = sorted({str(kind_of_name(name)) for name in names})
    if len(kinds) > 1:
        raise InputError(
            f"{shown}: a folder of {' and '.join(kinds)} files; keep shards of one kind in it"
        )
    words = {re.split(r"[-_.]", name)[0].lower() for name in names}
    splits = sorted(words & _SPLITS)
    if len(splits) > 1:
        raise InputError(
            f"{shown}: a folder of {' and '.join(splits)} shards; keep those of one split in it"
        )


def _check_complete(folder: Path, names: Sequence[str], shown: str) -> None:
    """Raises `InputError` for a name without a file, and for numbers that are not there."""
    empty = next((name for name in names if not (folder / name).is_file()), None)
    if empty is not None:
        what = "a link to nothing" if (folder / empty).is_symlink() else "no regular file"
        raise InputError(f"{shown}: {shown_path(empty, 60)} in it is {what}; put the file there")
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in names:
        if found := _NUMBERED.match(name):
            numbers[found[1], int(found[3])].add(int(found[2]))
    for (stem, count), there in numbers.items():
        first = 0 if 0 in there or count not in there else 1
        missing = count - sum(first <= number < first + count for number in there)
        if missing > 0:
            lost = next(number for number in itertools.count(first) if number not in there)
            raise InputError(
                f"{shown}: {counted(missing, 'shard')} of {count} missing, the first "
                f"{shown_path(stem, 40)}{lost:05}; fetch what is missing, or name one file"
            )
    if len({stem for stem, _ in numbers}) < len(numbers):
        raise InputError(f"{shown}: shards of two counts in one folder; keep those of one in it")
