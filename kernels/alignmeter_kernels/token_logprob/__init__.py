"""Per-token log-probability of labels under logits."""
