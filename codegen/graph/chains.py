"""Runs of nodes that work element by element, each run one operator."""

from __future__ import annotations

import math
from collections.abc import Collection

from codegen.graph.fuse import is_channel_constant, is_folded_normalization, other_operand
from codegen.graph.graph import Graph, Node
from codegen.ops import Elementwise, Operator, ScaleShift

_UNARY = {
    "Relu": "relu",
    "Neg": "neg",
    "Abs": "abs",
    "Exp": "exp",
    "Tanh": "tanh",
    "Erf": "erf",
    "Sigmoid": "sigmoid",
    "HardSwish": "hard_swish",
}
_BINARY = {"Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Max": "max", "Min": "min"}

Found = tuple[Operator, tuple[Node, ...]]
"""An operator and the nodes after the first that it takes in."""


def scale_shift_chain(graph: Graph, node: Node, claimed: Collection[Node]) -> Found | None:
    """Batch normalisation and other factors and offsets per channel (dimension 1), up to a ReLU."""
    value = _scaled_value(graph, node)
    if value is None:
        return None
    shape = graph.shape(value)
    absorbed: list[Node] = []
    has_relu = False
    last = node
    while not has_relu:
        reader = graph.sole_consumer(last.outputs[0])
        if reader is None or reader in claimed:
            break
        has_relu = reader.op == "Relu"
        if not has_relu and _scaled_value(graph, reader) != last.outputs[0]:
            break
        absorbed.append(reader)
        last = reader
    operator = ScaleShift(batch=shape[0], channels=shape[1], size=math.prod(shape[2:]), relu=has_relu)
    return operator, tuple(absorbed)


def elementwise_chain(graph: Graph, node: Node, claimed: Collection[Node]) -> Found:
    """As many nodes as follow on each other and keep the shape.

    Raises:
        ValueError: if the first node broadcasts, or its parameters have no counterpart.
    """
    shape = graph.shape(node.outputs[0])
    start = next((name for name in node.inputs if graph.shapes.get(name) == shape), node.inputs[0])
    ops = list(_operations(graph, node, start))
    absorbed: list[Node] = []
    gate = _gated(graph, node, ops[-1], claimed)
    if gate is not None:
        ops, last = [{"sigmoid": "silu", "hard_sigmoid": "hard_swish"}[ops[-1]]], gate
        absorbed.append(gate)
    else:
        last = node
    while (reader := graph.sole_consumer(last.outputs[0])) is not None and reader not in claimed:
        try:
            ops.extend(_operations(graph, reader, last.outputs[0]))
        except ValueError:
            break  # the reader starts an operator of its own, or is unsupported there
        absorbed.append(reader)
        last = reader
    return Elementwise(shape=shape, ops=tuple(ops)), tuple(absorbed)


def _scaled_value(graph: Graph, node: Node) -> str | None:
    """The input that a node scales or shifts per channel, if that is what it does."""
    if is_folded_normalization(graph, node):
        return node.inputs[0]
    for name in node.inputs:
        if name not in graph.constants and len(graph.shapes.get(name, ())) >= 2:
            return name if is_channel_constant(graph, node, name, 1) else None
    return None


def _operations(graph: Graph, node: Node, value: str) -> tuple[str, ...]:
    """What a node does to ``value``, whose shape it keeps; ValueError if that has no name here."""
    if node.op in _UNARY:
        return (_UNARY[node.op],)
    if node.op == "Gelu":
        return ("gelu_tanh" if node.text("approximate", "none") == "tanh" else "gelu",)
    if node.op == "HardSigmoid":
        return (_hard_sigmoid(node),)
    if node.op == "Clip":
        return (_clip(graph, node),)
    if node.op in _BINARY:
        return _binary(graph, node, value)
    raise ValueError("not elementwise")


def _binary(graph: Graph, node: Node, value: str) -> tuple[str, ...]:
    shape = graph.shape(value)
    if any(graph.shape(name) != shape for name in node.inputs):
        raise ValueError("broadcast")
    if node.op == "Mul" and node.inputs == (value, value):
        return ("square",)
    if node.op == "Sub" and node.inputs[0] != value:
        raise ValueError("subtracted from another tensor")
    # Three and more operands are added or compared one after another.
    return (_BINARY[node.op],) * (len(node.inputs) - 1)


def _gated(graph: Graph, node: Node, op: str, claimed: Collection[Node]) -> Node | None:
    """The product of a gate with its own input, as in SiLU."""
    if op not in ("sigmoid", "hard_sigmoid"):
        return None
    reader = graph.sole_consumer(node.outputs[0])
    if reader is None or reader in claimed or reader.op != "Mul":
        return None
    return reader if other_operand(reader, node.outputs[0]) == node.inputs[0] else None


def _hard_sigmoid(node: Node) -> str:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if not (math.isclose(alpha, 1 / 6, rel_tol=1e-3) and beta == 0.5):
        raise ValueError(f"alpha {alpha:g}, beta {beta:g}")
    return "hard_sigmoid"


def _clip(graph: Graph, node: Node) -> str:
    low, high = _bound(graph, node, 1, "min"), _bound(graph, node, 2, "max")
    if low == 0.0 and high == 6.0:
        return "relu6"
    if low == 0.0 and high > 3e38:
        return "relu"
    raise ValueError(f"{low:g} to {high:g}")


def _bound(graph: Graph, node: Node, position: int, name: str) -> float:
    """A bound of a Clip: an attribute before opset 11, an input since."""
    unbounded = -math.inf if name == "min" else math.inf
    if not node.has_input(position):
        return node.number(name, unbounded)
    if node.inputs[position] not in graph.values:
        raise ValueError(f"unknown {name}")
    return float(graph.values[node.inputs[position]].reshape(-1)[0])
