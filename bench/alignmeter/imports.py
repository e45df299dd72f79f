"""Importing libraries that print or log while they are imported."""

__all__ = ["quiet"]

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

from alignmeter.streams import noise


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the context what is logged, warned of or printed to stderr goes to the run's log.

    Where there is none it goes nowhere, errors that are logged excepted. bitsandbytes logs that
    Hugging Face's `kernels` is absent, transformers that torchvision is.
    """
    log = noise()
    with warnings.catch_warnings(), contextlib.redirect_stderr(log or io.StringIO()):
        if log is None:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        else:
            warnings.simplefilter("default")
            warnings.showwarning = _shown_in(log)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _shown_in(log: TextIO) -> Callable[..., None]:
    """What writes warnings there, whoever else records them."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        (file or log).write(warnings.formatwarning(message, category, filename, lineno, line))

    return show
