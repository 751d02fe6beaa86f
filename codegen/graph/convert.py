"""ONNX nodes as operators of ours. Each converter raises ValueError with the reason when it cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from codegen.graph.chains import elementwise_chain, scale_shift_chain
from codegen.graph.fuse import epilogue_after, is_per_channel
from codegen.graph.graph import Graph, Node, Shape
from codegen.graph.windows import convolution_window, pool_window
from codegen.ops import (
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    Matmul,
    Operator,
    Pool2d,
    Reduce,
    Softmax,
    Transpose,
)
from codegen.ops.matrices import ReduceKind


@dataclass(frozen=True)
class Converted:
    """An operator and the nodes after the first that it stands for too."""

    operator: Operator
    absorbed: tuple[Node, ...] = ()


Claimed = Collection[Node]
Converter = Callable[[Graph, Node, Claimed], Converted]


def convert(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    """The operator that a node starts; ``claimed`` nodes belong to earlier ones.

    Raises:
        ValueError: if there is none; the text is the reason, or empty when the operation is unknown.
    """
    if node.op not in _CONVERTERS:
        raise ValueError("")
    element_type = graph.element_types.get(node.outputs[0], "float32")
    if element_type != "float32":
        raise ValueError(element_type)
    return _CONVERTERS[node.op](graph, node, claimed)


def reduces_nothing(graph: Graph, node: Node) -> bool:
    """Whether a reduction has no axes, and no axes are to mean none instead of all."""
    return bool(node.integer("noop_with_empty_axes", 0)) and _axes(graph, node) == ()


def _convolution(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x, w = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    if len(x) != 4:
        raise ValueError(f"{len(x) - 2} spatial dimensions")
    _require_constants(graph, node, 1)
    window = convolution_window(node, x, w)
    tail = epilogue_after(graph, node, 1, claimed)
    operator = Conv2d(
        batch=x[0],
        height=x[2],
        width=x[3],
        in_channels=x[1],
        out_channels=w[0],
        groups=node.integer("group", 1),
        kernel=(w[2], w[3]),
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        bias=tail.bias or node.has_input(2),
        relu=tail.relu,
        residual=tail.residual,
    )
    return Converted(operator, tuple(tail.nodes))


def _gemm(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    a, b = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    _require_constants(graph, node, 1)
    if node.number("alpha", 1.0) == 0.0:
        raise ValueError("alpha is 0")
    transpose_a, transpose_b = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))
    m, k = (a[1], a[0]) if transpose_a else (a[0], a[1])
    n = b[0] if transpose_b else b[1]
    has_bias, has_residual = _gemm_addend(graph, node, (m, n))
    tail = epilogue_after(graph, node, 1, claimed, has_residual)
    operator = Matmul(
        m=m,
        k=k,
        n=n,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        bias=has_bias or tail.bias,
        relu=tail.relu,
        residual=tail.residual,
    )
    return Converted(operator, tuple(tail.nodes))


def _gemm_addend(graph: Graph, node: Node, output: Shape) -> tuple[bool, bool]:
    """Whether the third operand is a bias, and whether it is a residual."""
    if not node.has_input(2) or node.number("beta", 1.0) == 0.0:
        return False, False
    shape = graph.shape(node.inputs[2])
    if node.inputs[2] in graph.constants and is_per_channel(shape, output, 1):
        return True, False
    if shape == output and node.number("beta", 1.0) == 1.0:
        return False, True
    raise ValueError(f"adds a tensor of shape {list(shape)}")


def _matmul(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    a, b = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    if len(a) < 2 or len(b) < 2:
        raise ValueError("a vector operand")
    if math.prod(b[:-2]) == 1:
        _require_constants(graph, node, 1)
        batch, m = 1, math.prod(a[:-1])
    elif a[:-2] == b[:-2]:
        batch, m = math.prod(a[:-2]), a[-2]
    else:
        raise ValueError(f"broadcasts {list(a)} and {list(b)}")
    tail = epilogue_after(graph, node, len(graph.shape(node.outputs[0])) - 1, claimed)
    operator = Matmul(
        m=m, k=a[-1], n=b[-1], batch=batch, bias=tail.bias, relu=tail.relu, residual=tail.residual
    )
    return Converted(operator, tuple(tail.nodes))


def _pool(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if len(x) != 4:
        raise ValueError(f"{len(x) - 2} spatial dimensions")
    if len(node.outputs) > 1 and graph.consumers.get(node.outputs[1]):
        raise ValueError("indices are used")
    counts_padding = bool(node.integer("count_include_pad", 0))
    if counts_padding and node.integer("ceil_mode", 0):
        raise ValueError("ceil_mode with count_include_pad")
    window = pool_window(node, x, y)
    if window.dilation != (1, 1):
        raise ValueError("dilated")
    operator = Pool2d(
        batch=x[0],
        channels=x[1],
        height=x[2],
        width=x[3],
        kernel=window.kernel,
        stride=window.stride,
        padding=window.padding,
        kind="max" if node.op == "MaxPool" else "average",
        # Without padding the answer does not depend on it, and equal operators should be equal.
        count_include_pad=counts_padding and any(window.padding) and node.op == "AveragePool",
    )
    return Converted(operator)


def _global_average_pool(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    batch, channels, *spatial = graph.shape(node.inputs[0])
    height, width = spatial if len(spatial) == 2 else (1, math.prod(spatial))
    return Converted(GlobalAveragePool(batch=batch, channels=channels, height=height, width=width))


def _global_max_pool(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x = graph.shape(node.inputs[0])
    return Converted(Reduce(rows=x[0] * x[1], cols=math.prod(x[2:]), kind="max"))


def _softmax(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x = graph.shape(node.inputs[0])
    axis = node.integer("axis", 1 if graph.opset < 13 else -1) % len(x)
    if graph.opset >= 13 and math.prod(x[axis + 1 :]) != 1:
        raise ValueError(f"axis {axis} of {len(x)}")
    rows = math.prod(x[:axis])
    return Converted(Softmax(rows=rows, cols=math.prod(x[axis:])))


def _layer_norm(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x = graph.shape(node.inputs[0])
    _require_constants(graph, node, 1)
    axis = node.integer("axis", -1) % len(x)
    rows, cols = math.prod(x[:axis]), math.prod(x[axis:])
    return Converted(LayerNorm(rows=rows, cols=cols, eps=node.number("epsilon", 1e-5)))


def _transpose(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    x = graph.shape(node.inputs[0])
    order = node.integers("perm") or tuple(reversed(range(len(x))))
    order = tuple(dim for dim in order if x[dim] > 1)
    first = sorted(order)[0] if order else 0
    split = order.index(first) if order else 0
    front, back = order[split:], order[:split]
    if (*front, *back) != tuple(sorted(order)):
        raise ValueError(f"perm {list(node.integers('perm') or ())}")
    rows, cols = (math.prod(x[dim] for dim in part) for part in (front, back))
    return Converted(Transpose(rows=rows, cols=cols))


def _reduce(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    kinds: Mapping[str, ReduceKind] = {"ReduceSum": "sum", "ReduceMax": "max", "ReduceMean": "mean"}
    x = graph.shape(node.inputs[0])
    axes = _axes(graph, node)
    if axes is None:
        raise ValueError("unknown axes")
    reduced = {axis % len(x) for axis in axes or range(len(x))}
    first = min(reduced, default=len(x))
    if any(size > 1 and dim not in reduced for dim, size in enumerate(x) if dim > first):
        raise ValueError(f"axes {sorted(reduced)} of {len(x)}")
    return Converted(Reduce(rows=math.prod(x[:first]), cols=math.prod(x[first:]), kind=kinds[node.op]))


def _axes(graph: Graph, node: Node) -> tuple[int, ...] | None:
    """Of a reduction: an attribute, in later opsets an input; empty where left out, None where computed."""
    attribute = node.integers("axes")
    if attribute is not None or not node.has_input(1):
        return attribute or ()
    if node.inputs[1] not in graph.values:
        return None
    return tuple(int(axis) for axis in graph.values[node.inputs[1]].reshape(-1).tolist())


def _elementwise(graph: Graph, node: Node, claimed: Claimed) -> Converted:
    operator, nodes = scale_shift_chain(graph, node, claimed) or elementwise_chain(graph, node, claimed)
    return Converted(operator, nodes)


def _require_constants(graph: Graph, node: Node, first: int) -> None:
    if any(name and name not in graph.constants for name in node.inputs[first : first + 1]):
        raise ValueError("weights are computed")


_CONVERTERS: Mapping[str, Converter] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "Softmax": _softmax,
    "LayerNormalization": _layer_norm,
    "Transpose": _transpose,
    "ReduceSum": _reduce,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    **dict.fromkeys(
        (
            "Abs",
            "Add",
            "BatchNormalization",
            "Clip",
            "Erf",
            "Exp",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Max",
            "Min",
            "Mul",
            "Neg",
            "Relu",
            "Sigmoid",
            "Sub",
            "Sum",
            "Tanh",
        ),
        _elementwise,
    ),
}
