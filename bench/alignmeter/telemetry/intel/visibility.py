"""Which of Intel's devices ZE_AFFINITY_MASK leaves, as Level Zero and torch number them.

Source: Intel's "Flattening GPU tile hierarchy" for Level Zero.
"""

__all__ = ["visible_intel"]

from collections.abc import Mapping, Sequence

from alignmeter.telemetry.visibility import Named, Visible, unknown


def visible_intel(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What ZE_AFFINITY_MASK leaves of ``devices``, in Level Zero's order, of one stack each.

    Of a card with several stacks each is a device of its own unless ZE_FLAT_DEVICE_HIERARCHY is
    COMPOSITE; such cards are found by UUID only.
    """
    if "ONEAPI_DEVICE_SELECTOR" in environment:
        return unknown(
            "ONEAPI_DEVICE_SELECTOR is read by SYCL and names backends as well",
            "unset it and use ZE_AFFINITY_MASK",
        )
    asked = environment.get("ZE_AFFINITY_MASK")
    keys = [key for key, _ in devices]
    if asked is None or not asked.strip():
        return Visible(devices=tuple(keys))
    parts = [part.strip() for part in asked.split(",")]
    if any("." in part for part in parts):
        return unknown(
            f"ZE_AFFINITY_MASK={asked} names stacks of a card", "name whole devices, such as 0,1"
        )
    numbers = [int(part) if part.isdecimal() else -1 for part in parts]
    if not all(0 <= number < len(keys) for number in numbers):
        return unknown(
            f"ZE_AFFINITY_MASK={asked} names a device that is not there",
            f"there are {len(keys)}, numbered from 0",
        )
    if numbers != sorted(set(numbers)):
        return unknown(
            f"ZE_AFFINITY_MASK={asked} selects and does not order", "name devices in rising order"
        )
    return Visible(devices=tuple(keys[number] for number in numbers))
