"""Sketches that multiply in bfloat16: contractions whose operands are packed in pairs of reduction steps.

They are the contraction sketches of a program that has half of the steps, an element of its operands standing
for two: the copies that bring the operands closer make the pairs, and the sum takes two products at once.
Inputs, sums and results stay float32. They are offered for a target that asks for them
(``Target.bf16_dot``) and carry a rounding error of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from codegen.ir.affine import variable
from codegen.ir.expression import Axis, Binary, Constant, Expr, InRange, Load, Program, Select, loads, walk
from codegen.ir.loops import LoopProgram, Store
from codegen.schedule.rewrite import Nodes, map_expr, map_stores
from codegen.schedule.rules.contraction import Choice
from codegen.schedule.rules.contraction_knobs import contraction_sketches
from codegen.schedule.sketch import Sketch, Values
from codegen.target import Target

ROUNDOFF = 2.0**-8
"""Of bfloat16: the largest error of a number of order one that is rounded to its 8 significant bits."""

_FLOAT32_EPSILON = 2.0**-23


def bf16_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """None if the target does not ask for them, or the program is no sum of products that can be paired."""
    halved = _halved(program) if target.bf16_dot else None
    if halved is None:
        return ()
    errors = {program.stages[0].output.name: bf16_error(halved.num_terms)}
    return tuple(
        replace(sketch, name=f"{sketch.name}.bf16", lower=_paired(sketch.lower, halved), errors=errors)
        for sketch in contraction_sketches(halved.program, target, _packs_everything)
    )


def bf16_error(num_terms: int) -> float:
    """Rounding error of a sum of products of order one whose factors are rounded to bfloat16.

    As in ``codegen.ops.tolerance``: errors that do not depend on each other add up like a random walk. Each
    product is off by both factors' errors; the sum is float32, rounded once or twice for each pair.
    """
    return math.sqrt(num_terms) * (2 * ROUNDOFF + _FLOAT32_EPSILON * math.sqrt(num_terms))


@dataclass(frozen=True)
class _Halved:
    """A program with half of the steps along one reduction axis, which had ``num_steps``.

    ``dimensions`` says where the axis is in each operand, ``num_terms`` how many products a sum had.
    """

    program: Program
    original: Program
    num_steps: int
    num_terms: int
    dimensions: Mapping[str, int]


def _halved(program: Program) -> _Halved | None:
    stage = program.stages[0]
    axis = stage.reduce_axes[0] if stage.reduce_axes else Axis("", 1)
    operands = loads(stage.value)
    is_sum = stage.reducer == "sum" and isinstance(stage.value, Binary) and stage.value.op == "mul"
    if not is_sum or axis.extent < 2 or len(operands) != 2:
        return None
    dimensions = {load.buffer: _dimension(load, axis.name) for load in operands}
    found = {name: dimension for name, dimension in dimensions.items() if dimension is not None}
    if len(found) != 2 or _is_asked_for(stage.value, axis.name):
        return None
    short = replace(axis, extent=-(-axis.extent // 2))
    inputs = tuple(
        replace(tensor, shape=_with(tensor.shape, found[tensor.name], short.extent))
        if tensor.name in found
        else tensor
        for tensor in program.inputs
    )
    first = replace(stage, reduce_axes=(short, *stage.reduce_axes[1:]))
    num_terms = math.prod(axis.extent for axis in stage.reduce_axes)
    halved = replace(program, inputs=inputs, stages=(first, *program.stages[1:]), _hash=[])
    return _Halved(halved, program, axis.extent, num_terms, found)


def _dimension(load: Load, axis: str) -> int | None:
    """The dimension that is the axis; None if it is none or mixed with others."""
    users = [d for d, index in enumerate(load.index) if axis in index.variables]
    is_plain = len(users) == 1 and load.index[users[0]] == variable(axis)
    return users[0] if is_plain else None


def _is_asked_for(value: Expr, axis: str) -> bool:
    """Whether a condition of padding depends on the axis."""
    selects = [part for part in walk(value) if isinstance(part, Select)]
    return any(axis in condition.index.variables for select in selects for condition in select.conditions)


def _packs_everything(choice: Choice) -> bool:
    return not choice.row_by_row and all(staging != "direct" for _, staging in choice.staging)


def _paired(lower: Callable[[Values], LoopProgram], halved: _Halved) -> Callable[[Values], LoopProgram]:
    shapes = {tensor.name: tensor.shape for tensor in halved.original.inputs}

    def change(store: Store) -> Nodes:
        if store.reducer == "sum" and isinstance(store.value, Binary) and store.value.op == "mul":
            return (replace(store, value=replace(store.value, op="dot_pairs")),)
        return (replace(store, value=map_expr(store.value, lambda expr: _pair_of(expr, halved))),)

    def lower_paired(values: Values) -> LoopProgram:
        loops = lower(values)
        buffers = tuple(replace(b, shape=shapes.get(b.name, b.shape)) for b in loops.buffers)
        body, prepack = map_stores(loops.body, change), map_stores(loops.prepack, change)
        return replace(loops, buffers=buffers, body=body, prepack=prepack)

    return lower_paired


def _pair_of(expr: Expr, halved: _Halved) -> Expr | None:
    """What stands for a load of an operand: two neighbours along the axis; zero after the last."""
    if not isinstance(expr, Load) or expr.buffer not in halved.dimensions:
        return None
    dimension = halved.dimensions[expr.buffer]
    first = expr.index[dimension] * 2
    neighbours: list[Expr] = [
        Load(expr.buffer, (*expr.index[:dimension], index, *expr.index[dimension + 1 :]))
        for index in (first, first + 1)
    ]
    if halved.num_steps % 2:
        inside = InRange(first + 1, 0, halved.num_steps)
        neighbours[1] = Select((inside,), neighbours[1], Constant(0.0))
    return Binary("pair", neighbours[0], neighbours[1])


def _with(shape: tuple[int, ...], dimension: int, size: int) -> tuple[int, ...]:
    return (*shape[:dimension], size, *shape[dimension + 1 :])
