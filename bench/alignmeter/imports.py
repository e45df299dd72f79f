"""Importing libraries that print or log while they are imported."""

__all__ = ["quiet"]

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the context nothing is logged below an error, warned of, or printed to stderr.

    bitsandbytes logs that Hugging Face's `kernels` is absent, transformers that torchvision is.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
