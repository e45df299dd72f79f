"""The axes that say how several devices take one step together."""

__all__ = ["DEVICE_AXES"]

from alignmeter.cells.axis import Axis

DEVICE_AXES: tuple[Axis, ...] = (
    Axis(
        name="world_size",
        slug="w{}",
        integer=True,
        default=1,
        omitted=1,
        help="devices that take one step together, each its share of the batch",
    ),
    Axis(
        name="parallel",
        choices=("none", "ddp", "fsdp2"),
        default="none",
        omitted="none",
        help="how several devices hold a model: each a whole one, or each a share of every weight",
    ),
    Axis(
        name="rollout_weights",
        slug="rollout-{}",
        choices=("sharded", "gathered"),
        default="sharded",
        omitted="sharded",
        help="weights while responses are sampled under fsdp2: gathered again for each token, or "
        "once for a rollout",
    ),
)
