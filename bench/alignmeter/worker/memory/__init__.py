"""Every byte of a step and who owns it."""
