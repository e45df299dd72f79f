"""What causal-conv1d 1.6 exposes of the functions that transformers takes.

Source: causal_conv1d/causal_conv1d_interface.py of https://github.com/Dao-AILab/causal-conv1d.
"""

__version__ = "1.6.0"

from causal_conv1d.causal_conv1d_interface import (  # noqa: F401
    causal_conv1d_fn,
    causal_conv1d_update,
)
