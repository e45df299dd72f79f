"""What records mean: intervals, likeness, comparisons, claims. Knows no torch."""
