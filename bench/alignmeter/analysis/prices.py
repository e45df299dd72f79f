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

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from alignmeter.analysis.chips import chip_of, peaks
from alignmeter.cells.toml_document import read_toml
from alignmeter.errors import known
from alignmeter.records.record import Provenance

_LARGEST = 1e9
_Money = Annotated[
    float, Meta(ge=0, le=_LARGEST, description=f"give a number from 0 to {_LARGEST:g}")
]
_Currency = Annotated[
    str, Meta(pattern=r"^[^\W\d_]{1,8}\Z", description="give its letters, e.g. EUR")
]


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money in ``currency``. ``per_hour``: device or chip -> price of one for an hour.

    ``electricity_per_kwh``: ``None`` where it is not paid apart. ``pue``: at least 1.
    """

    currency: _Currency
    electricity_per_kwh: _Money | None = None
    pue: Annotated[float, Meta(ge=1, le=5, description="give a number from 1 to 5")] = 1.0
    per_hour: Annotated[
        dict[str, _Money], Meta(description="write a table of prices, [per_hour]")
    ] = {}

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

    def of_chip(self, chip: str) -> float | None:
        """Price of an hour of a chip, by its name, then by one that only its devices have."""
        by_device = (price for name, price in self.per_hour.items() if chip_of(name) == chip)
        return self.per_hour.get(chip, next(by_device, None))

    def unknown(self, devices: Iterable[str] = ()) -> Iterator[str]:
        """A sentence for each name that is neither a chip nor one of these ``devices``: nothing is
        priced by it.
        """
        names = {*peaks(), *devices}
        for name in self.per_hour:
            if name not in names and chip_of(name) is None:
                yield f"no device here and no chip is called {name!r}; {known(peaks(), name)}"


def read_prices(path: Path) -> Prices:
    """The prices in a file. Raises `InputError` naming the file, the field and what is right."""
    return read_toml(path, Prices)
