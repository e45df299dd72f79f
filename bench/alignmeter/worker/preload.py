"""What the forkserver imports once, so that workers start in hundredths of a second.

Importing this module is work on purpose: the forkserver does it, spawned workers do, and who plans
cells. Nothing here may open a device: no fork of a process that has one open can use it.
"""

import contextlib
import importlib
import os

from alignmeter.accelerators import answering
from alignmeter.streams import quiet

# Libraries ask on import whether there is a GPU. Through NVML the answer leaves CUDA untouched, and
# a process forked from this one can still use it.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

with quiet(), answering():
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
    transformers.utils.logging.set_verbosity_error()
