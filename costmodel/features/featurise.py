"""From candidates to feature trees: each sketch's features are recorded once, then replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_target import GpuTarget
from codegen.ir.arithmetic import Int, maximum, symbol
from codegen.ir.loops import LoopProgram
from codegen.ir.trace import log2, record
from codegen.ir.trace_native import Code, assemble, execute
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.accesses import Footprints
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS, Column, Scale
from costmodel.features.machine import Machine, machine_of
from costmodel.features.nodes import Raw, leaf_work, node_columns
from costmodel.features.program import program_columns
from costmodel.features.tree import LeafNode, build_tree


@dataclass(frozen=True)
class SketchFeatures:
    """The features of one sketch as instructions over its knobs.

    Flat feature number ``node * len(NODE_COLUMNS) + column``, the program's columns after all nodes.
    Most features are the same for all candidates of a sketch: they stand in ``constants``, shape
    (num_features,). ``code`` computes the others, whose numbers are ``varying``, ascending. ``flows`` as
    in ``TreeGroup``.
    """

    parents: tuple[int, ...]
    inputs: tuple[str, ...]
    code: Code
    varying: NDArray[np.int64]
    constants: NDArray[np.float32]
    flows: tuple[tuple[int, int], ...] = ()

    def compute(self, values: Mapping[str, NDArray[np.int64]], num: int) -> NDArray[np.float32]:
        """The varying features of ``num`` candidates, (len(varying), num), laid out as by ``execute``."""
        columns = np.empty((len(self.inputs), num))
        for row, name in enumerate(self.inputs):
            columns[row] = values[name]
        result: NDArray[np.float32] = execute(self.code, columns, np.float32)
        return result

    def evaluate(self, values: Mapping[str, NDArray[np.int64]], rows: NDArray[np.int64]) -> TreeGroup:
        """The trees of N candidates, given each knob's values, shape (N,)."""
        features = np.empty((len(rows), len(self.constants)), dtype=np.float32)
        features[:] = self.constants
        features[:, self.varying] = self.compute(values, len(rows)).T
        num_nodes, width = len(self.parents), len(NODE_COLUMNS)
        nodes = features[:, : num_nodes * width].reshape(len(rows), num_nodes, width)
        return TreeGroup(self.parents, nodes, features[:, num_nodes * width :], rows, self.flows)


class Featuriser:
    """Features of one space's candidates; the first of each sketch costs some ten milliseconds more.

    The space may be one of a GPU, which ``machine_of`` describes in the same columns.
    """

    def __init__(self, space: Space | Space[GpuTarget]) -> None:
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
            knobs = {name: symbol(name) for name in names}
            machine = machine_of(self.space.target, knobs)
            self._sketches[number] = sketch_features(sketch.lower(knobs), names, machine)
        return self._sketches[number]


def featurise(space: Space | Space[GpuTarget], candidates: Candidates) -> TreeBatch:
    """Features of candidates, once; keep a ``Featuriser`` to ask again."""
    return Featuriser(space)(candidates)


def sketch_features(program: LoopProgram, inputs: tuple[str, ...], target: Machine) -> SketchFeatures:
    """Record the features of a symbolic (or concrete) loop program over the knobs named ``inputs``."""
    tree, footprints = build_tree(program), Footprints(program)
    work = {
        number: leaf_work(footprints, node, target)
        for number, node in enumerate(tree.nodes)
        if isinstance(node, LeafNode)
    }
    outputs: list[Int] = []
    for raw in node_columns(footprints, tree, work, target):
        outputs.extend(_scaled(raw, NODE_COLUMNS))
    outputs.extend(_scaled(program_columns(program, tree, list(work.values()), target), PROGRAM_COLUMNS))
    tape = record(outputs, inputs)
    constants = np.array([o if isinstance(o, float) else 0.0 for o in tape.outputs], dtype=np.float32)
    varying = [number for number, output in enumerate(tape.outputs) if not isinstance(output, float)]
    tape = replace(tape, outputs=tuple(tape.outputs[number] for number in varying))
    code = assemble(tape, np.float32)
    numbers = np.array(varying, dtype=np.int64)
    return SketchFeatures(tree.parents, inputs, code, numbers, constants, tree.flows)


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
