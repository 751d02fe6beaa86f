"""Programs and loop ASTs run in NumPy and Python: slow, and the oracle of every other backend.

Both interpreters compute in float64, so they differ from a float32 kernel by rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.closures import Inputs, Memory, compile_nodes, known_int, read_input
from codegen.ir.expression import IDENTITY, Binary, Constant, Expr, Load, Program, Stage, Unary
from codegen.ir.functions import BINARY, UNARY
from codegen.ir.loops import LoopProgram, Scope

_Array: TypeAlias = NDArray[Any]

_WORKSPACE = frozenset({Scope.GLOBAL, Scope.LOCAL, Scope.REGISTER})


def interpret_program(program: Program, inputs: Inputs) -> NDArray[np.float64]:
    """The program's output, each stage evaluated at once over all its axes.

    Memory grows with the number of points of a stage; meant for small programs.

    Raises:
        ValueError: if an input is missing or has another size.
        IndexError: if a load that is not selected away leaves its tensor.
    """
    tensors = {t.name: read_input(inputs, t.name, t.shape) for t in program.inputs}
    with np.errstate(all="ignore"):
        for stage in program.stages:
            tensors[stage.output.name] = _evaluate_stage(stage, tensors)
    return tensors[program.output.name]


def interpret_loops(loops: LoopProgram, inputs: Inputs) -> NDArray[np.float64]:
    """The output buffer after prepack and body, every iteration in textual order.

    All other buffers hold NaN until they are written, and thread-private ones are poisoned again at
    each parallel iteration, so that a missing initialisation shows in the result.

    Raises:
        ValueError: if an input is missing or has another size, an extent is not a plain int, or a store
            writes a buffer that is read-only there.
        IndexError: if a load or store leaves its buffer.
    """
    memory = Memory(loops, inputs)
    prepack = compile_nodes(loops.prepack, memory, writable=_WORKSPACE | {Scope.PACKED})
    body = compile_nodes(loops.body, memory, writable=_WORKSPACE | {Scope.OUTPUT})
    with np.errstate(all="ignore"):
        prepack({})
        body({})
    output = next(buffer for buffer in loops.buffers if buffer.scope is Scope.OUTPUT)
    return np.array(memory.data[output.name], dtype=np.float64).reshape(memory.shapes[output.name])


def _evaluate_stage(stage: Stage, tensors: Mapping[str, _Array]) -> NDArray[np.float64]:
    axes = (*stage.axes, *stage.reduce_axes)
    domain = tuple(axis.extent for axis in axes)
    grid = np.meshgrid(*(np.arange(size) for size in domain), indexing="ij", sparse=True) if domain else []
    points = {axis.name: positions for axis, positions in zip(axes, grid)}
    values = np.broadcast_to(_evaluate(stage.value, points, tensors, np.asarray(True)), domain)
    if stage.reducer is None:
        return np.array(values, dtype=np.float64)
    dims = tuple(range(len(stage.axes), len(axes)))
    reduce = np.sum if stage.reducer == "sum" else np.max
    return np.asarray(reduce(values, axis=dims, initial=IDENTITY[stage.reducer]), dtype=np.float64)


def _evaluate(
    expr: Expr, points: Mapping[str, _Array], tensors: Mapping[str, _Array], mask: _Array
) -> _Array:
    """Values at every point; where ``mask`` is false they are arbitrary."""
    if isinstance(expr, Constant):
        return np.asarray(float(expr.value))
    if isinstance(expr, Load):
        return _load(expr, points, tensors[expr.buffer], mask)
    if isinstance(expr, Unary):
        return np.asarray(UNARY[expr.op](_evaluate(expr.operand, points, tensors, mask)))
    if isinstance(expr, Binary):
        left = _evaluate(expr.left, points, tensors, mask)
        return np.asarray(BINARY[expr.op](left, _evaluate(expr.right, points, tensors, mask)))
    holds: _Array = np.asarray(True)
    for condition in expr.conditions:
        index = np.asarray(condition.index.evaluate(points))
        holds = holds & (index >= known_int(condition.low)) & (index < known_int(condition.high))
    then = _evaluate(expr.then, points, tensors, mask & holds)
    return np.where(holds, then, _evaluate(expr.otherwise, points, tensors, mask & ~holds))


def _load(load: Load, points: Mapping[str, _Array], tensor: _Array, mask: _Array) -> _Array:
    index = []
    for affine, size in zip(load.index, tensor.shape):
        position = np.asarray(affine.evaluate(points))
        if np.any(mask & ((position < 0) | (position >= size))):
            raise IndexError(f"a load of {load.buffer} leaves its {size} elements")
        index.append(np.clip(position, 0, size - 1))
    return np.asarray(tensor[tuple(index)])
