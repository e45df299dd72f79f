"""What mamba-ssm 2.3 exposes of the functions that transformers takes, at the same places.

Source: mamba_ssm/__init__.py, ops/selective_scan_interface.py, ops/triton/ssd_combined.py and
ops/triton/selective_state_update.py of https://github.com/state-spaces/mamba. Signatures are
those; results are zeros of the right shapes, and none where ``stub_calls.REFUSED`` says so.
"""

__version__ = "2.3.0"

from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn, selective_scan_fn  # noqa: F401
