"""From candidates to feature trees: each sketch's features are recorded once, then replayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.ir.arithmetic import Int, maximum, symbol
from codegen.ir.loops import LoopProgram
from codegen.ir.trace import log2, record
from codegen.ir.trace_native import Code, assemble, execute
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from codegen.target import Target
from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS, Column, Scale
from costmodel.features.nodes import Raw, leaf_work, node_columns
from costmodel.features.program import program_columns
from costmodel.features.tree import LeafNode, build_tree

from numpy.typing import NDArray


@dataclass(frozen=True)
class SketchFeatures:
    """The features of one sketch as instructions over its knobs."""

    parents: tuple[int, ...]
    inputs: tuple[str, ...]
    code: Code

    def evaluate(self, values: dict[str, NDArray[np.int64]], rows: NDArray[np.int64]) -> TreeGroup:
        """The trees of N candidates, given each knob's values, shape (N,)."""
        columns = np.stack([values[name].astype(np.float64) for name in self.inputs]) if self.inputs else None
        if columns is None:
            columns = np.zeros((0, len(rows)))
        features = execute(self.code, columns, np.float32)
        num_nodes, width = len(self.parents), len(NODE_COLUMNS)
        nodes = features[: num_nodes * width].reshape(num_nodes, width, -1)
        return TreeGroup(self.parents, nodes.transpose(2, 0, 1), features[num_nodes * width :].T, rows)


class Featuriser:
    """Features of one space's candidates. The first candidate of a sketch costs some ten milliseconds more."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._sketches: dict[int, SketchFeatures] = {}

    def __call__(self, candidates: Candidates) -> TreeBatch:
        """One group per sketch that occurs; every value is finite."""
        groups = []
        for number, rows in self.space.by_sketch(candidates):
            values = self.space.values(number, candidates.positions[rows])
            groups.append(self.sketch(number).evaluate(values, rows))
        return TreeBatch(tuple(groups))

    def sketch(self, number: int) -> SketchFeatures:
        """The recorded features of a sketch."""
        if number not in self._sketches:
            sketch = self.space.sketches[number]
            names = tuple(knob.name for knob in sketch.knobs)
            program = sketch.lower({name: symbol(name) for name in names})
            self._sketches[number] = sketch_features(program, names, self.space.target)
        return self._sketches[number]


def featurise(space: Space, candidates: Candidates) -> TreeBatch:
    """Features of candidates, once; keep a ``Featuriser`` to ask again."""
    return Featuriser(space)(candidates)


def sketch_features(program: LoopProgram, inputs: tuple[str, ...], target: Target) -> SketchFeatures:
    """Record the features of a symbolic (or concrete) loop program over the knobs named ``inputs``."""
    tree = build_tree(program)
    work = {
        number: leaf_work(program, node, target)
        for number, node in enumerate(tree.nodes)
        if isinstance(node, LeafNode)
    }
    outputs: list[Int] = []
    for raw in node_columns(program, tree, work, target):
        outputs.extend(_scaled(raw, NODE_COLUMNS))
    outputs.extend(_scaled(program_columns(program, tree, list(work.values()), target), PROGRAM_COLUMNS))
    return SketchFeatures(tree.parents, inputs, assemble(record(outputs, inputs), np.float32))


def _scaled(raw: Raw, columns: tuple[Column, ...]) -> list[Int]:
    unknown = raw.keys() - {column.name for column in columns}
    assert not unknown, f"values without a column: {unknown}"
    return [_scale(raw[column.name], column.scale) if column.name in raw else 0 for column in columns]


def _scale(value: Int, scale: Scale) -> Int:
    if scale is Scale.LOG:
        return log2(value)
    if scale is Scale.LOG_PLUS_ONE:
        return log2(value + 1)
    if scale is Scale.EXCESS:
        return log2(maximum(value, 1))
    return value
