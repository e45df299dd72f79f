"""What tells the settings of one device apart, in words: tables show them as rows side by side."""

__all__ = ["distinctions"]

from collections.abc import Mapping, Sequence

from alignmeter.records.record import Provenance

_WORDS = {
    "form_factor": "{}",
    "partition": "{}",
    "power_cap_w": "cap {} W",
    "threads": "threads: {}",
}
"""Part of a setting -> what people read of it; the environment is told by what differs in it."""
_MOST = 3
"""Fields of an environment that are named, the driver's first."""


def distinctions(settings: Sequence[Mapping[str, object]], said: Sequence[Provenance]) -> list[str]:
    """For each setting of one device the words in which it differs from the others.

    ``said``: what a replicate of each says of where it was measured. An environment is told by the
    driver, the runtime and the versions that differ, and by its digest where these are all alike.
    """
    differing = [
        name for name in _WORDS if len({setting[name] for setting in settings} - {None}) > 1
    ]
    environments = _environments(settings, said)
    texts = []
    for setting in settings:
        known = ((name, setting[name]) for name in differing)
        words = [_WORDS[name].format(value) for name, value in known if value is not None]
        texts.append(", ".join([*words, *environments.get(setting["environment"], ())]))
    return texts


def _environments(
    settings: Sequence[Mapping[str, object]], said: Sequence[Provenance]
) -> dict[object, list[str]]:
    """Digest -> its words; empty where there is one environment."""
    found: dict[object, dict[str, str]] = {}
    for setting, place in zip(settings, said, strict=True):
        digest = setting["environment"]
        if digest is not None and not found.get(digest):
            found[digest] = _fields(place)
    if len(found) < 2:
        return {}
    names = list(dict.fromkeys(name for fields in found.values() for name in fields))
    apart = [name for name in names if len({fields.get(name) for fields in found.values()}) > 1]
    told = {
        digest: [f"{name} {fields.get(name, 'none')}" for name in apart[:_MOST]]
        for digest, fields in found.items()
    }
    alike = len({tuple(words) for words in told.values()}) < len(told)
    return {digest: [*words, f"environment {digest}"] if alike else words
            for digest, words in told.items()}  # fmt: skip


def _fields(place: Provenance) -> dict[str, str]:
    fields: dict[str, object] = {
        "driver": place.driver,
        "runtime": place.runtime,
        **place.versions,
        **place.environment,
    }
    return {name: str(value) for name, value in fields.items() if value not in (None, "")}
