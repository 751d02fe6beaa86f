"""Which nodes after an operator become part of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from codegen.graph.graph import Graph, Node, Shape

PASS_THROUGH = ("Identity", "Dropout")
"""They change nothing when a trained network runs."""


@dataclass
class Tail:
    """What follows an operator: the parts of its epilogue, the nodes they stand for, the last value."""

    value: str
    nodes: list[Node]
    bias: bool = False
    relu: bool = False
    residual: bool = False


def epilogue_after(
    graph: Graph, node: Node, channel_dim: int, claimed: Collection[Node], has_residual: bool = False
) -> Tail:
    """Follow the operator's result as long as only an epilogue reads it.

    Factors and offsets per channel by constants (batch normalisation above all) fold into weights and
    bias; then come the sum with another tensor and the ReLU, in this order.

    Args:
        graph: the network.
        node: the operator.
        channel_dim: dimension of its result that the bias runs along, not negative.
        claimed: nodes that are part of operators already.
        has_residual: whether the operator itself adds a tensor, which no factor can fold into.
    """
    tail = Tail(node.outputs[0], [], residual=has_residual)
    while not tail.relu:
        reader = graph.sole_consumer(tail.value)
        if reader is None or reader in claimed or not _absorb(graph, reader, tail, channel_dim):
            break
        tail.nodes.append(reader)
        tail.value = reader.outputs[0]
    return tail


def is_per_channel(shape: Shape, output: Shape, channel_dim: int) -> bool:
    """Whether a constant of this shape broadcasts to one number per channel, or one in all."""
    if len(shape) > len(output):
        return False
    padded = (1,) * (len(output) - len(shape)) + shape
    return all(size == 1 or (dim == channel_dim and size == output[dim]) for dim, size in enumerate(padded))


def other_operand(node: Node, value: str) -> str | None:
    """The second operand of a node that reads ``value`` once."""
    if len(node.inputs) != 2 or node.inputs[0] == node.inputs[1]:
        return None
    return node.inputs[1] if node.inputs[0] == value else node.inputs[0]


def is_folded_normalization(graph: Graph, node: Node) -> bool:
    """Whether a node is a batch normalisation with known statistics, which is a factor and an offset."""
    return (
        node.op == "BatchNormalization"
        and node.integer("training_mode", 0) == 0
        and all(name in graph.constants for name in node.inputs[1:])
    )


def is_channel_constant(graph: Graph, node: Node, value: str, channel_dim: int) -> bool:
    """Whether a node combines ``value`` with a constant per channel by a product, sum or difference."""
    other = other_operand(node, value)
    if node.op not in ("Add", "Mul", "Sub", "Sum") or other is None or other not in graph.constants:
        return False
    if node.op == "Sub" and node.inputs[0] != value:
        return False
    return is_per_channel(graph.shape(other), graph.shape(value), channel_dim)


def _absorb(graph: Graph, node: Node, tail: Tail, channel_dim: int) -> bool:
    """Take one node into the tail; False if it does not belong there."""
    if node.op == "Relu":
        tail.relu = True
        return True
    if node.op in PASS_THROUGH:
        return True
    if tail.residual:
        return False
    if is_folded_normalization(graph, node) and channel_dim == 1:
        tail.bias = True
        return True
    if is_channel_constant(graph, node, tail.value, channel_dim):
        tail.bias = tail.bias or node.op != "Mul"
        return True
    tail.residual = _adds_tensor(graph, node, tail.value)
    return tail.residual


def _adds_tensor(graph: Graph, node: Node, value: str) -> bool:
    other = other_operand(node, value)
    if node.op not in ("Add", "Sum") or other is None:
        return False
    return graph.shapes.get(other) == graph.shape(value)
