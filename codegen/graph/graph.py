"""A network as operators see it: nodes, and the shapes and constness of the values between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; ``op`` carries its domain unless it is ONNX's own. Left-out inputs are empty names.

    ``has_graphs``: it runs graphs of its own (If, Loop, Scan). ``captured`` names what those may
    read besides ``inputs``.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object] = field(default_factory=dict)
    has_graphs: bool = False
    captured: frozenset[str] = frozenset()

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float) -> float:
        """A real attribute."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or nothing if it is left out."""
        value = self.attributes.get(name)
        return tuple(value) if isinstance(value, (list, tuple)) else None

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else default

    def has_input(self, position: int) -> bool:
        """Whether an optional input is given."""
        return len(self.inputs) > position and bool(self.inputs[position])


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order.

    ``inputs`` are those that a caller feeds. ``constants`` names every value that does not depend on
    them, ``values`` holds the small ones whose numbers are known.
    """

    producer: str
    opset: int
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    element_types: Mapping[str, str]
    constants: frozenset[str]
    values: Mapping[str, NDArray[np.generic]]

    def shape(self, name: str) -> Shape:
        """ValueError when shape inference did not find it."""
        if name not in self.shapes:
            raise ValueError("unknown shape")
        return self.shapes[name]

    def sole_consumer(self, name: str) -> Node | None:
        """The only node that reads a value, if nothing else needs it."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    @cached_property
    def consumers(self) -> Mapping[str, list[Node]]:
        """The nodes that read each value, each once."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.inputs, *node.captured)):
                found.setdefault(name, []).append(node)
        return found
