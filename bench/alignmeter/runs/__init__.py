"""Runs: what every surface that fills a folder of its own shares, from its lock to its report."""
