"""Intel's devices, through the kernel's files."""
