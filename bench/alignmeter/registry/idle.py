"""Values at which other axes change nothing, whatever the method."""

__all__ = ["IDLE", "SHARED"]

SHARED = "parallel"
"""The axis that counts in every cell of several devices."""
IDLE: tuple[tuple[str, object, str], ...] = (
    ("world_size", 1, SHARED),
    ("world_size", 1, "rollout_weights"),
    (SHARED, "ddp", "rollout_weights"),
)
"""(axis, value, other axis): at that value the other one changes nothing."""
