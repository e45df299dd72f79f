"""Triton's interpreter, right for bf16 and quick enough for whole steps.

It keeps bf16 as integers: products of them are taken of the integers, and casts cut instead of
rounding to nearest even, as every GPU does. Its scan goes element by element.
"""

import sys
from functools import cache
from inspect import getmembers

import numpy as np


def to_fp32(bits):
    """bf16 as uint16 -> fp32."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def to_bf16(values):
    """fp32 -> bf16 as uint16, to nearest even; NaN stays NaN."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def lighten(module):
    """What it does again for every call of a function is done once, and no coverage is traced
    inside: both together are half of its time.
    """
    members = cache(lambda package: _builtins(module, package))

    def patch_builtin(package, builder, scope):
        for name, member in members(package):
            if getattr(package, name) is member:  # else patched, for the function that calls
                module._patch_attr(package, name, member, builder, scope)

    launch = module.GridExecutor.__call__

    def untraced(self, *arguments, **named):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return launch(self, *arguments, **named)
        finally:
            sys.settrace(tracer)

    module._patch_builtin, module.GridExecutor.__call__ = patch_builtin, untraced


def _builtins(module, package):
    return [(n, m) for n, m in getmembers(package) if module.tl.core.is_builtin(m)]


def install(module):
    """Into `triton.runtime.interpreter`."""
    from triton.language import core as tl  # the package itself is being imported

    builder, handle = module.InterpreterBuilder, module.TensorHandle
    dot, cast, between = builder.create_dot, builder.cast_impl, builder.create_fp_to_fp
    pair = {tl.float32, tl.bfloat16}

    def wide(operand):
        return to_fp32(operand.data) if operand.dtype.scalar == tl.bfloat16 else operand.data

    def create_dot(self, a, b, d, *more):
        if tl.bfloat16 not in (a.dtype.scalar, b.dtype.scalar):
            return dot(self, a, b, d, *more)
        product = np.matmul(wide(a), wide(b), dtype=np.float32)
        return handle(product.astype(d.data.dtype) + d.data, d.dtype.scalar)

    def cast_impl(self, source, target):
        if {source.dtype.scalar, target.scalar} != pair:
            return cast(self, source, target)
        convert = to_bf16 if target.scalar == tl.bfloat16 else to_fp32
        return handle(convert(source.data), target.scalar)

    def create_fp_to_fp(self, source, target, rounding_mode):
        if {source.dtype.scalar, target.scalar} != pair:
            return between(self, source, target, rounding_mode)
        return self.cast_impl(source, target)

    builder.create_dot, builder.cast_impl = create_dot, cast_impl
    builder.create_fp_to_fp = create_fp_to_fp
    for name in ("create_fp_ext", "create_fp_trunc"):
        setattr(builder, name, lambda self, source, target: self.cast_impl(source, target))
    module.ScanOps.generic_scan = _scan
    lighten(module)


def quicken(module):
    """The scans of whole steps: (decay, value) pairs by numpy alone, 100 times as fast. Only for
    steps: the checks of operators run the kernels' own function.
    """

    def scan(self, inputs):
        decay, value = (np.moveaxis(x.handle.data, self.axis, 0).copy() for x in inputs)
        for i in range(1, len(decay)):
            value[i] += decay[i] * value[i - 1]
            decay[i] *= decay[i - 1]
        return _packed(self, (decay, value), inputs)

    module.ScanOps.generic_scan = scan


def _packed(self, results, inputs):
    return [
        self.to_tensor(np.ascontiguousarray(np.moveaxis(result, 0, self.axis)), x.dtype)
        for result, x in zip(results, inputs, strict=True)
    ]


def _scan(self, inputs):
    """One step along the axis at a time, all other axes at once."""
    data = [np.moveaxis(value.handle.data, self.axis, 0) for value in inputs]
    results = [np.empty_like(values) for values in data]
    for result, values in zip(results, data, strict=True):
        result[0] = values[0]
    for i in range(1, len(data[0])):
        before = [self.to_tensor(r[i - 1], x.dtype) for r, x in zip(results, inputs, strict=True)]
        here = [self.to_tensor(v[i], x.dtype) for v, x in zip(data, inputs, strict=True)]
        made = self.combine_fn.fn(*before, *here)
        for result, value in zip(
            results, made if isinstance(made, tuple) else (made,), strict=True
        ):
            result[i] = value.handle.data
    return _packed(self, results, inputs)
