"""The host, through the kernel's files."""
