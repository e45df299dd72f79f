"""From what a replicate found to its record."""
