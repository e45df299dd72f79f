"""Where the config.json of a ``--model`` lies, and what lies beside it."""

__all__ = ["Place", "configs_alone", "find_place", "is_there"]

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.cells.places import adopt_places, place_of
from alignmeter.streams import quiet
from alignmeter.text import shown_path

_WANTED = ["*.json", "*.safetensors", "tokenizer*", "*.model", "vocab*", "merges*"]
_CONFIG = "config.json"
_ALONE: list[bool] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """``config``: the JSON file. ``folder``: whose other files are the model's; ``None`` where the
    JSON file itself was given. ``drawn``: its weights may be drawn where there are none.
    """

    config: Path
    folder: Path | None
    drawn: bool


@contextlib.contextmanager
def configs_alone() -> Iterator[None]:
    """Within the context a hub is asked for a model's config.json alone, as a plan needs no more.

    Weights that were fetched before count.
    """
    _ALONE.append(True)
    try:
        yield
    finally:
        _ALONE.pop()


def find_place(model: str) -> Place:
    """Of a folder, a JSON file or a hub id. Raises `InputError` if it is not there.

    Weights are never drawn for a hub id that is to run: whoever names one wants its weights.
    """
    place = Path(place_of(model))
    if _is(place, Path.is_file):
        if place.suffix != ".json":
            raise refused(model, "a file, but no .json; give a config.json, or a model's folder")
        return Place(config=place, folder=None, drawn=True)
    if _is(place, Path.is_dir):
        return Place(config=place / _CONFIG, folder=place, drawn=True)
    folder = _fetched(model) if not _ALONE else _fetched_before(model) or _config_fetched(model)
    return Place(config=folder / _CONFIG, folder=folder, drawn=bool(_ALONE))


def is_there(place: Path) -> bool:
    """Whether there is a file or folder of that name."""
    return _is(place, Path.exists)


def _is(place: Path, what: Callable[[Path], bool]) -> bool:
    try:
        return what(place)
    except OSError:  # a name that no file system takes
        return False


def _fetched_before(model: str) -> Path | None:
    """The folder of a checkpoint that is on this machine whole."""
    from huggingface_hub import snapshot_download

    with contextlib.suppress(Exception):  # the hub client raises errors of many libraries
        folder = Path(snapshot_download(model, allow_patterns=_WANTED, local_files_only=True))
        if any(folder.glob("*.safetensors")):
            return folder
    return None


def _config_fetched(model: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(_given(model, "file or folder", lambda: hf_hub_download(model, _CONFIG))).parent


def _fetched(model: str) -> Path:
    """The folder with that hub id, for this process and its workers.

    They ask nobody again: the hub may have another revision by then, or be out of reach.
    """
    from huggingface_hub import snapshot_download

    found = _given(model, "folder", lambda: snapshot_download(model, allow_patterns=_WANTED))
    folder = Path(found)
    if any(folder.glob("*.safetensors")):  # else it is refused, each time
        adopt_places({model: found})
    return folder


def _given(model: str, sought: str, asks: Callable[[], str]) -> str:
    """What the hub gives. Raises `InputError` where it gives nothing."""
    from huggingface_hub.errors import HFValidationError

    try:
        with quiet():  # it draws a bar
            return asks()
    except HFValidationError as error:
        raise refused(
            model, "neither a folder nor a hub id such as organisation/name, nor a .json file"
        ) from error
    except Exception as error:  # the hub client raises errors of many libraries
        raise refused(model, f"no such {sought}, and {_refusal(error, model)}") from error


def _refusal(error: Exception, model: str) -> str:
    """Why the hub did not give it, and what helps. Its client's own words fill a page."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return (
            "the hub cannot be reached from here; give a folder, or fetch it first where it can: "
            f"hf download {shown_path(model, 60)}"
        )
    if isinstance(error, errors.GatedRepoError):
        return "the hub gives it to those who accepted its terms; do so, and log in: hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has none of that name, or a private one: hf auth login"
    return f"the hub did not give it ({type(error).__name__}: {one_line(error)})"
