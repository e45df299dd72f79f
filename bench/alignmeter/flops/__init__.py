"""FLOPs and bytes of a step, counted from the model's shape: what is counted, and the tally.

Each architecture brings its blocks, each PEFT mode what trains, each method its passes.
docs/flops.md has the formulas in one place.
"""

__all__ = [
    "Block",
    "Blocks",
    "Mixing",
    "Network",
    "Product",
    "StepFlops",
    "Storage",
    "Tally",
    "Trained",
    "Work",
    "decoding",
    "logit_tokens",
    "responses",
    "sequences",
]

from alignmeter.flops.blocks import Block, Blocks, Mixing, Product
from alignmeter.flops.network import Network, Trained
from alignmeter.flops.storage import Storage
from alignmeter.flops.tally import StepFlops, Tally
from alignmeter.flops.work import Work, decoding, logit_tokens, responses, sequences
