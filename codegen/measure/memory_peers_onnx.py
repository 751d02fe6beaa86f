"""ONNX nodes of the operators that mostly move memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

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

Nodes = list[Any]  # onnx is not typed
"""NodeProtos; the last one's output is the result."""


def memory_nodes(operator: Operator) -> tuple[Nodes, list[Any]] | None:
    """Nodes from the operands to ``main``, and initialisers beside the operands; None if ONNX has not the
    operator as one node, or a chain as one for each of its operations.
    """
    if isinstance(operator, Elementwise):
        return _chain(operator)
    if isinstance(operator, Softmax):
        return [helper.make_node("Softmax", ["x"], ["main"], axis=1)], []
    if isinstance(operator, LayerNorm):
        inputs = ["x", "scale", "bias"]
        return [helper.make_node("LayerNormalization", inputs, ["main"], axis=1, epsilon=operator.eps)], []
    if isinstance(operator, Pool2d):
        return [_pool(operator)], []
    if isinstance(operator, GlobalAveragePool):
        return [helper.make_node("GlobalAveragePool", ["x"], ["main"])], []
    if isinstance(operator, Reduce):
        kind = {"sum": "ReduceSum", "max": "ReduceMax", "mean": "ReduceMean"}[operator.kind]
        axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
        return [helper.make_node(kind, ["x", "axes"], ["main"], keepdims=0)], [axes]
    if isinstance(operator, Transpose):
        return [helper.make_node("Transpose", ["x"], ["main"], perm=[1, 0])], []
    return _scale_shift(operator) if isinstance(operator, ScaleShift) else None


def _pool(operator: Pool2d) -> Any:
    attributes: dict[str, Any] = {
        "kernel_shape": both_dimensions(operator.kernel),
        "strides": both_dimensions(operator.stride),
        "pads": four_sides(operator.padding),
    }
    if operator.kind == "max":
        return helper.make_node("MaxPool", ["x"], ["main"], **attributes)
    counts = int(operator.count_include_pad)
    return helper.make_node("AveragePool", ["x"], ["main"], count_include_pad=counts, **attributes)


def _scale_shift(operator: ScaleShift) -> tuple[Nodes, list[Any]]:
    """A batch normalisation of mean 0 and variance 1."""
    statistics = [
        numpy_helper.from_array(make((operator.channels,), np.float32), name)
        for name, make in (("mean", np.zeros), ("variance", np.ones))
    ]
    inputs = ["x", "scale", "shift", "mean", "variance"]
    nodes = [helper.make_node("BatchNormalization", inputs, ["main"], epsilon=0.0)]
    return [*nodes, helper.make_node("Relu", ["main"], ["positive"])] if operator.relu else nodes, statistics


def _chain(operator: Elementwise) -> tuple[Nodes, list[Any]] | None:
    nodes: Nodes = []
    value, num_used = "x", 0
    for number, op in enumerate(operator.ops):
        inputs = [value]
        if op in BINARY_OPS:
            num_used += 1
            inputs.append(f"x{num_used}")
        if op not in _NODES:
            return None
        kind, attributes = _NODES[op]
        value = f"main_{number}"
        nodes.append(helper.make_node(kind, inputs, [value], **attributes))
    return nodes, []


_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("Add", {}),
    "sub": ("Sub", {}),
    "mul": ("Mul", {}),
    "max": ("Max", {}),
    "min": ("Min", {}),
    "relu": ("Relu", {}),
    "neg": ("Neg", {}),
    "abs": ("Abs", {}),
    "exp": ("Exp", {}),
    "tanh": ("Tanh", {}),
    "erf": ("Erf", {}),
    "sigmoid": ("Sigmoid", {}),
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1.0 / 6.0, "beta": 0.5}),
    "hard_swish": ("HardSwish", {}),
}
"""Operations that are one node, with its attributes."""
