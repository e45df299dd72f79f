"""Names of cells that stand together: short, by what they differ in, and no two alike."""

__all__ = ["Naming", "digest_of"]

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import parts, spelled

_HEAD = ("method", "architecture", "size", "peft")
_FIRST = ("seq_len", "batch", "layout")
"""What comes next, before all else; a method's figures are figures of its layout."""
_ALWAYS = frozenset(("method", "architecture", "peft", "layout"))
"""What names have even where it is the same in all."""
_LONGEST_DIGEST = 12


class Naming:
    """``DPO llama LoRA, T 64, B 2``: method, architecture and PEFT mode, then whatever differs
    among the cells; ``shared`` is what they have in common.

    A cell on several devices has one name: these stand beside it. Two cells that no word tells
    apart (data of one name in two folders) have their digests in their names.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        known = {cell: parts(cell) for cell in dict.fromkeys(cells)}
        texts: dict[str, set[str]] = {}
        for words in known.values():
            for part, text in words.items():
                texts.setdefault(part, set()).add(text)
        self._varied = frozenset(part for part, found in texts.items() if len(found) > 1)
        names = Counter((self._name(words), cell.accelerator) for cell, words in known.items())
        self._twice = frozenset(name for (name, _), count in names.items() if count > 1)
        self.shared = ", ".join(
            next(iter(texts[part]))
            for part in _ordered(texts)
            if part not in self._varied | _ALWAYS and texts[part] != {""}
        )

    def of(self, cell: Cell, *, without: Collection[str] = ()) -> str:
        """Its name; ``without`` the parts that stand beside it, such as ``kernels``.

        Of a cell that was not among those given, it says what these differ in.
        """
        words = parts(cell)
        whole = self._name(words)
        name = whole if not without else self._name(words, without)
        return f"{name}, {digest_of(cell.id)}" if whole in self._twice else name

    def _name(self, words: Mapping[str, str], without: Collection[str] = ()) -> str:
        shown = {
            part: text
            for part, text in words.items()
            if text and part not in without and part in self._varied | _ALWAYS
        }
        head = " ".join(spelled(part, shown[part]) for part in _HEAD if part in shown)
        rest = (shown[part] for part in _ordered(shown) if part not in _HEAD)
        return ", ".join(filter(None, (head, *rest)))


def _ordered(found: Collection[str]) -> list[str]:
    """Head, lengths and layout first, the others as they come."""
    front = [part for part in (*_HEAD, *_FIRST) if part in found]
    return [*front, *(part for part in found if part not in front)]


def digest_of(cell_id: str) -> str:
    """The last word of an id, which no other cell's has: ``bf71ae78``."""
    return cell_id.rpartition("-")[2][-_LONGEST_DIGEST:]
