"""Prices that a reader gives, as TOML: what an hour of a device and a kWh cost.

```toml
schema = 1
currency = "EUR"
electricity_per_kwh = 0.25   # leave it out where the price of an hour has it in
pue = 1.3                    # of the building: its energy over that of the machines

[per_hour]                   # a chip of docs/peaks.md, or the device's name as the records have it
H100-SXM = 2.80
"AMD EPYC 9654" = 0.90
```
"""

__all__ = ["Prices", "read_prices"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignmeter.analysis.chips import chip_of
from alignmeter.errors import InputError, known
from alignmeter.records.record import Provenance

_KEYS = ("schema", "currency", "electricity_per_kwh", "pue", "per_hour")
_LARGEST = 1e9
_LONGEST_CURRENCY = 8
_WORST_PUE = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Money in ``currency``. ``per_hour``: device or chip -> price of one for an hour.

    ``electricity_per_kwh``: ``None`` where it is not paid apart. ``pue``: at least 1.
    """

    currency: str
    per_hour: Mapping[str, float]
    electricity_per_kwh: float | None
    pue: float

    def of(self, place: Provenance) -> float | None:
        """Price of an hour of a record's device, by its name, then by its chip."""
        chip = chip_of(
            place.device,
            place.form_factor,
            place.power_cap_w,
            place.device_memory_bytes,
            place.partition,
        )
        by_chip = None if chip is None else self.per_hour.get(chip)
        return self.per_hour.get(place.device, by_chip)


def read_prices(path: Path) -> Prices:
    """The prices in a file. Raises `InputError` naming the file, the field and what is right."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
    for key in document:
        if key not in _KEYS:
            raise InputError(f"{path}: unknown key {key!r}; {known(_KEYS)}")
    if document.get("schema") != 1 or isinstance(document["schema"], bool):
        raise InputError(
            f"{path}: schema is {document.get('schema')!r}; this version reads schema = 1"
        )
    electricity = document.get("electricity_per_kwh")
    return Prices(
        currency=_currency(document.get("currency"), path),
        per_hour=_per_hour(document.get("per_hour", {}), path),
        electricity_per_kwh=(
            None
            if electricity is None
            else _number(electricity, "electricity_per_kwh", (0, _LARGEST), path)
        ),
        pue=_number(document.get("pue", 1), "pue", (1, _WORST_PUE), path),
    )


def _currency(value: object, path: Path) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_CURRENCY or not value.isalpha():
        raise InputError(f"{path}: currency is {value!r}; give its letters, e.g. EUR")
    return value


def _per_hour(value: object, path: Path) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: per_hour must be a table of prices, written [per_hour]")
    return {
        name: _number(price, f"per_hour.{name}", (0, _LARGEST), path)
        for name, price in value.items()
    }


def _number(value: object, field: str, within: tuple[float, float], path: Path) -> float:
    least, most = within
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise InputError(f"{path}: {field} is {value!r}; give a number from {least:g} to {most:g}")
