"""What tells the settings of one device apart, in words: tables show them as rows side by side."""

__all__ = ["distinctions"]

from collections.abc import Sequence
from typing import Protocol

from alignmeter.records.record import Provenance

_WORDS = {
    "form_factor": "{}",
    "partition": "{}",
    "power_cap_w": "cap {} W",
    "threads": "threads: {}",
}
"""Part of a setting -> what people read of it; the environment is told by what differs in it."""
_OMP = "OMP_NUM_THREADS"
_MOST = 3
"""Fields of an environment that are named, the driver's first."""


class Setting(Protocol):
    """What a figure is bound to that does not change from night to night; ``None``: not known."""

    @property
    def form_factor(self) -> str | None:
        """SXM, PCIe and so on."""

    @property
    def partition(self) -> str | None:
        """Of a device that is divided."""

    @property
    def power_cap_w(self) -> int | None:
        """In W."""

    @property
    def threads(self) -> int | None:
        """Of a CPU."""

    @property
    def environment(self) -> str | None:
        """Digest of versions, driver and variables."""


def distinctions(settings: Sequence[Setting], said: Sequence[Provenance]) -> list[str]:
    """For each setting of one device the words in which it differs from the others.

    ``said``: what a replicate of each says of where it was measured. An environment is told by the
    driver, the runtime and the versions that differ, and by its digest where these are all alike.
    """
    differing = [
        name for name in _WORDS if len({getattr(one, name) for one in settings} - {None}) > 1
    ]
    environments = _environments(settings, said)
    texts = []
    for setting in settings:
        known = ((name, getattr(setting, name)) for name in differing)
        words = [_WORDS[name].format(value) for name, value in known if value is not None]
        texts.append(", ".join([*words, *environments.get(setting.environment, ())]))
    return texts


def _environments(
    settings: Sequence[Setting], said: Sequence[Provenance]
) -> dict[object, list[str]]:
    """Digest -> its words; empty where there is one environment."""
    found: dict[object, dict[str, str]] = {}
    threads: dict[object, object] = {}
    for setting, place in zip(settings, said, strict=True):
        digest = setting.environment
        if digest is not None and not found.get(digest):
            found[digest], threads[digest] = _fields(place), setting.threads
    if len(found) < 2:
        return {}
    names = list(dict.fromkeys(name for fields in found.values() for name in fields))
    apart = [name for name in names if len({fields.get(name) for fields in found.values()}) > 1]
    told = {
        digest: [f"{name} {fields.get(name, 'none')}" for name in apart[:_MOST]]
        for digest, fields in found.items()
    }
    alike = len({(threads[digest], *words) for digest, words in told.items()}) < len(told)
    return {digest: [*words, f"environment {digest}"] if alike else words
            for digest, words in told.items()}  # fmt: skip


def _fields(place: Provenance) -> dict[str, str]:
    fields: dict[str, object] = {
        "driver": place.driver,
        "runtime": place.runtime,
        **place.versions,
        **place.environment,
    }
    if fields.get(_OMP) == str(place.threads):  # which are told apart from the environment
        del fields[_OMP]
    return {name: str(value) for name, value in fields.items() if value not in (None, "")}
