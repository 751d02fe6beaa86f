"""What a network asks to compute: its distinct operators, how often, and what is not supported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codegen.graph.convert import convert, reduces_nothing
from codegen.graph.fuse import PASS_THROUGH
from codegen.graph.graph import Graph, Node, Shape
from codegen.graph.read_onnx import read_onnx
from codegen.ops import Operator

VIEWS = (*PASS_THROUGH, "Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Operations that never move data in a compiled network."""


@dataclass(frozen=True)
class OperatorTask:
    """An operator of the network and how often it occurs."""

    name: str
    operator: Operator
    count: int

    @property
    def flops(self) -> int:
        """Of one occurrence."""
        return self.operator.flops

    @property
    def num_bytes(self) -> int:
        """Sizes of operands and result of one occurrence: the least traffic with memory."""
        program = self.operator.program()
        return sum(tensor.num_bytes for tensor in (*program.inputs, program.output))


@dataclass(frozen=True)
class NetworkTasks:
    """Tasks in the order of their first occurrence; ``unsupported`` counts the other nodes by name.

    An unsupported name says why in parentheses where another form of the operation is supported.
    """

    producer: str
    opset: int
    inputs: Mapping[str, Shape]
    tasks: tuple[OperatorTask, ...]
    unsupported: Mapping[str, int]

    @property
    def total_flops(self) -> int:
        """Of one run of the network, without what is unsupported."""
        return sum(task.count * task.flops for task in self.tasks)


def onnx_tasks(path: Path, batch: int | None = None, dims: Mapping[str, int] | None = None) -> NetworkTasks:
    """The tasks of an ONNX file; see ``read_onnx`` for the arguments and what is refused."""
    graph = read_onnx(path, batch, dims)
    counts, unsupported = count_operators(graph)
    return NetworkTasks(
        producer=graph.producer,
        opset=graph.opset,
        inputs=graph.inputs,
        tasks=_named(counts, re.sub(r"\W+", "_", path.stem)),
        unsupported=unsupported,
    )


def count_operators(graph: Graph) -> tuple[Counter[Operator], Counter[str]]:
    """Operators after fusion of epilogues, and the names of nodes that are none; both in graph order."""
    operators: Counter[Operator] = Counter()
    unsupported: Counter[str] = Counter()
    claimed: set[Node] = set()
    for node in graph.nodes:
        is_folded = all(name in graph.constants for name in node.outputs if name)
        if node in claimed or is_folded or _is_view(graph, node):
            continue
        try:
            converted = convert(graph, node, claimed)
        except ValueError as reason:
            unsupported[f"{node.op} ({reason})" if str(reason) else node.op] += 1
            continue
        operators[converted.operator] += 1
        claimed.update(converted.absorbed)
    return operators, unsupported


def _is_view(graph: Graph, node: Node) -> bool:
    if node.op != "Transpose":
        return node.op in VIEWS or reduces_nothing(graph, node)
    shape = graph.shapes.get(node.inputs[0], ())
    order = [dim for dim in node.integers("perm") or () if dim < len(shape) and shape[dim] > 1]
    # Moving dimensions of size 1 leaves the order of the elements as it is.
    return bool(shape and node.integers("perm")) and order == sorted(order)


def _named(counts: Mapping[Operator, int], prefix: str) -> tuple[OperatorTask, ...]:
    """Names such as ``resnet50_conv2d_7``: the network, the operator, its number among the distinct ones."""
    seen: Counter[str] = Counter()
    tasks = []
    for operator, count in counts.items():
        seen[operator.operator_name] += 1
        name = f"{prefix}_{operator.operator_name}_{seen[operator.operator_name]}"
        tasks.append(OperatorTask(name, operator, count))
    return tuple(tasks)
