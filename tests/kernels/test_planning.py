"""Operators without data, and a canary: what a release of torch may change without a word."""

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from alignmeter_kernels.causal_conv1d import causal_conv1d  # noqa: F401 - defines its operator
from alignmeter_kernels.planning import own_tables, table


def test_torch_keeps_what_custom_op_decorated():
    from torch._library.custom_ops import OPDEFS

    (definition, *_) = [d for name, d in OPDEFS.items() if name.startswith("alignmeter::")]
    assert callable(getattr(definition, "_init_fn", None)), (
        f"torch {torch.__version__} has no CustomOpDef._init_fn; see alignmeter_kernels/planning.py"
    )


def test_a_table_is_made_once_and_again_for_a_plan():
    made = []

    @table
    def rising(device):
        made.append(device)
        return torch.arange(3, device=device)

    cpu = torch.device("cpu")
    assert rising(cpu) is rising(cpu)
    with own_tables(), FakeTensorMode():
        assert isinstance(rising(cpu), FakeTensor)
        assert rising(cpu) is rising(cpu)
    assert not isinstance(rising(cpu), FakeTensor)
    assert made == [cpu, cpu]
