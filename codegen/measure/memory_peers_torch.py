"""PyTorch as a peer of operators that mostly move memory. Imports torch, as ``peers_torch`` does.

Operands and outputs lie where ours do (cache lines, huge pages if the system has them), and every call
writes to the same output, where torch offers that: an output of its own at each call costs page faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from codegen.measure.arrays import touched_copy, touched_zeros
from codegen.measure.peers import Binder, Runner
from codegen.ops import (
    Elementwise,
    GlobalAveragePool,
    LayerNorm,
    Operator,
    Pool2d,
    Reduce,
    ScaleShift,
    Softmax,
    Transpose,
)
from codegen.ops.elementwise import BINARY_OPS
from codegen.ops.window import both_dimensions, four_sides

Tensors = Mapping[str, torch.Tensor]
Compute = Callable[[], torch.Tensor]


def torch_memory_binder(operator: Operator, num_threads: int) -> Binder | None:
    """A runner of eager PyTorch (no gradients asked for), or None where torch has not the operator."""
    if not has_memory_layer(operator):
        return None
    torch.set_num_threads(num_threads)
    return lambda operands: _bind(operator, operands)


def _bind(operator: Operator, operands: Mapping[str, NDArray[np.float32]]) -> Runner:
    shapes = operator.user_shapes()
    tensors = {name: torch.from_numpy(touched_copy(a, shapes[name])) for name, a in operands.items()}
    y = torch.from_numpy(touched_zeros(shapes["y"]))
    return memory_layer(operator, tensors, y)


def memory_layer(operator: Operator, tensors: Tensors, y: torch.Tensor) -> Compute:
    """The operator on tensors of any device, which it writes to ``y`` where torch offers that."""
    x = tensors["x"]
    if isinstance(operator, Softmax):
        return lambda: torch.softmax(x, 1, out=y)
    if isinstance(operator, LayerNorm):
        return _layer_norm(operator, tensors, y)
    if isinstance(operator, Elementwise):
        return _chain(operator, tensors, y)
    if isinstance(operator, ScaleShift):
        scale, shift = tensors["scale"][:, None], tensors["shift"][:, None]
        if operator.relu:
            return lambda: torch.relu_(torch.addcmul(shift, x, scale, out=y))
        return lambda: torch.addcmul(shift, x, scale, out=y)
    if isinstance(operator, Pool2d):
        return _pool(operator, x)
    if isinstance(operator, GlobalAveragePool):
        return lambda: torch.mean(x, (2, 3), keepdim=True, out=y)
    if isinstance(operator, Reduce):
        reduce: Callable[..., torch.Tensor] = _REDUCE[operator.kind]
        return lambda: reduce(x, 1, out=y)
    assert isinstance(operator, Transpose)
    turned = x.t()
    return lambda: y.copy_(turned)


def _layer_norm(operator: LayerNorm, tensors: Tensors, y: torch.Tensor) -> Compute:
    operands = (tensors["x"], (operator.cols,), tensors["scale"], tensors["bias"], operator.eps)
    _, mean, deviation = torch.native_layer_norm(*operands)  # their format depends on the device
    normalise = torch.ops.aten.native_layer_norm.out

    def compute() -> torch.Tensor:
        result: torch.Tensor = normalise(*operands, out0=y, out1=mean, out2=deviation)[0]
        return result

    return compute


def _pool(operator: Pool2d, x: torch.Tensor) -> Compute:
    kernel, stride = both_dimensions(operator.kernel), both_dimensions(operator.stride)
    padding = four_sides(operator.padding)[:2]
    if operator.kind == "max":
        return lambda: torch.nn.functional.max_pool2d(x, kernel, stride, padding)
    return lambda: torch.nn.functional.avg_pool2d(
        x, kernel, stride, padding, count_include_pad=operator.count_include_pad
    )


def has_memory_layer(operator: Operator) -> bool:
    """Whether torch takes the padding of a pooling: the same on both sides, at most half a window."""
    if not isinstance(operator, Pool2d):
        return True
    top, left, bottom, right = four_sides(operator.padding)
    kernel = both_dimensions(operator.kernel)
    return (top, left) == (bottom, right) and 2 * top <= kernel[0] and 2 * left <= kernel[1]


def _chain(operator: Elementwise, tensors: Tensors, y: torch.Tensor) -> Compute:
    """One call after another, all but the first in place."""
    operands = [tensors[f"x{number}"] for number in range(1, len(tensors))]
    steps: list[tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = []
    for op in operator.ops:
        steps.append((_BINARY[op], (operands.pop(0),)) if op in BINARY_OPS else (_UNARY[op], ()))

    def compute() -> torch.Tensor:
        value = tensors["x"]
        for step, others in steps:
            value = step(value, *others, out=y)
        return y

    return compute


_REDUCE: Mapping[str, Callable[..., torch.Tensor]] = {
    "sum": torch.sum,
    "max": torch.amax,
    "mean": torch.mean,
}

_BINARY: Mapping[str, Callable[..., torch.Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
}

_aten = torch.ops.aten

_UNARY: Mapping[str, Callable[..., torch.Tensor]] = {
    "relu": lambda x, out: torch.clamp_min(x, 0.0, out=out),
    "relu6": lambda x, out: torch.clamp(x, 0.0, 6.0, out=out),
    "neg": torch.neg,
    "abs": torch.abs,
    "square": torch.square,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "silu": _aten.silu.out,
    "gelu": lambda x, out: _aten.gelu.out(x, approximate="none", out=out),
    "gelu_tanh": lambda x, out: _aten.gelu.out(x, approximate="tanh", out=out),
    "hard_sigmoid": _aten.hardsigmoid.out,
    "hard_swish": _aten.hardswish.out,
}
