"""The largest batch and the longest sequence that run, found by real steps."""
