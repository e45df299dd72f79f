"""What the forkserver imports once, so that workers start in hundredths of a second.

Importing this module is work on purpose: the forkserver does it, and who plans cells.
"""

import contextlib
import importlib
import io
import logging
import os
import warnings

# Libraries ask on import whether there is a GPU. Through NVML the answer leaves CUDA untouched, and
# a process forked from this one can still use it.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    # bitsandbytes logs that Hugging Face's `kernels` is absent, transformers that torchvision is.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import peft
    import torch
    import transformers
    from peft.tuners import lora

    with contextlib.suppress(ImportError):
        import bitsandbytes
    import alignmeter.worker.workload
    from alignmeter.registry import ARCHITECTURES, load

    for _name in ARCHITECTURES:
        importlib.import_module(load(ARCHITECTURES, _name).modeling)
    logging.disable(logging.NOTSET)
    transformers.utils.logging.set_verbosity_error()
