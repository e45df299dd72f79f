"""What the forkserver imports once, so that workers start in hundredths of a second.

Importing this module is work on purpose; nothing else imports it.
"""

import contextlib
import io
import logging
import warnings

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    # bitsandbytes logs that Hugging Face's `kernels` is absent, transformers that torchvision is.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers.models.llama.modeling_llama
    import transformers.models.mamba.modeling_mamba
    from peft.tuners import lora  # noqa: F401

    with contextlib.suppress(ImportError):
        import bitsandbytes  # noqa: F401
    import alignmeter.session.workload  # noqa: F401

    logging.disable(logging.NOTSET)
    transformers.utils.logging.set_verbosity_error()
