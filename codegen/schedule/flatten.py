"""Rewriting a program to fewer axes: unit axes dropped, axes that always run together fused.

A 1x1 convolution becomes a matrix product this way, an elementwise chain one long loop. Tensors keep
their bytes; only their shapes change.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Expr, InRange, Load, Program, Select, Stage, Tensor, loads, walk
from codegen.schedule.rewrite import map_expr, substitute_expr

Dimension = tuple[str, int]
"""A tensor's name and the first of two neighbouring dimensions."""


def flatten_program(program: Program) -> Program:
    """The same computation with as few axes as its accesses allow."""
    program = _drop_unit_axes(program)
    while True:
        for stage_number, stage in enumerate(program.stages):
            pairs = _neighbours(stage.axes) + _neighbours(stage.reduce_axes)
            fusion = next(filter(None, (_closure(program, stage_number, pair) for pair in pairs)), None)
            if fusion is not None:
                program = _fuse(program, *fusion)
                break
        else:
            return program


def _drop_unit_axes(program: Program) -> Program:
    has_one_row = any(set(stage.output.shape) == {1} for stage in program.stages)
    padded = _padded_dimensions(program)

    def kept(tensor: Tensor) -> list[int]:
        # The result of a whole reduction has to keep one axis; with it, every tensor keeps its only row.
        first = 0 if has_one_row else -1
        sizes = enumerate(tensor.shape)
        return [d for d, size in sizes if size > 1 or d == first or (tensor.name, d) in padded] or [0]

    keep = {name: kept(tensor) for name, tensor in program.tensors.items()}

    def shrink(tensor: Tensor) -> Tensor:
        return replace(tensor, shape=tuple(tensor.shape[d] for d in keep[tensor.name]))

    def drop(expr: Expr) -> Expr | None:
        if isinstance(expr, Load):
            return Load(expr.buffer, tuple(expr.index[d] for d in keep[expr.buffer]))
        return None

    stages = []
    for stage in program.stages:
        axes = tuple(stage.axes[d] for d in keep[stage.output.name])
        units = {a.name: Affine() for a in (*stage.axes, *stage.reduce_axes) if a.extent == 1}
        for axis in axes:
            units.pop(axis.name, None)
        reduce_axes = tuple(a for a in stage.reduce_axes if a.extent > 1) or stage.reduce_axes[:1]
        for axis in reduce_axes:
            units.pop(axis.name, None)
        value = map_expr(substitute_expr(stage.value, units), drop)
        stages.append(
            replace(stage, output=shrink(stage.output), axes=axes, reduce_axes=reduce_axes, value=value)
        )
    return replace(program, inputs=tuple(shrink(t) for t in program.inputs), stages=tuple(stages), _hash=[])


def _padded_dimensions(program: Program) -> set[Dimension]:
    """Dimensions of size 1 that some read leaves: what is copied has to hold their padding."""
    found: set[Dimension] = set()
    for stage in program.stages:
        units = {a.name: Affine() for a in (*stage.axes, *stage.reduce_axes) if a.extent == 1}
        for load in loads(stage.value):
            indices = [index.substitute(units) for index in load.index]
            shape = program.tensors[load.buffer].shape
            found |= {(load.buffer, d) for d, i in enumerate(indices) if shape[d] == 1 and i != Affine()}
    return found


def _neighbours(axes: tuple[Axis, ...]) -> list[tuple[str, str]]:
    return [(a.name, b.name) for a, b in itertools.pairwise(axes)]


def _closure(
    program: Program, stage: int, pair: tuple[str, str]
) -> tuple[dict[int, tuple[str, str]], set[Dimension]] | None:
    """Every stage's pair and every tensor's dimensions that must fuse with this pair, or None."""
    pairs: dict[int, tuple[str, str]] = {stage: pair}
    dimensions: set[Dimension] = set()
    pending = [stage]
    while pending:
        number = pending.pop()
        found = _fused_dimensions(program.stages[number], *pairs[number])
        if found is None:
            return None
        for name, dimension in found - dimensions:
            dimensions.add((name, dimension))
            for other, implied in _implied_pairs(program, name, dimension):
                if implied is None or pairs.setdefault(other, implied) != implied:
                    return None
                pending.append(other)
    return pairs, dimensions


def _fused_dimensions(stage: Stage, first: str, second: str) -> set[Dimension] | None:
    """Dimensions that the two axes index, if they always do so side by side and completely."""
    found: set[Dimension] = set()
    for part in walk(stage.value):
        if isinstance(part, Select) and any(_mentions(c, first, second) for c in part.conditions):
            return None
    names = [axis.name for axis in stage.axes]
    if first in names:
        found.add((stage.output.name, names.index(first)))
    for load in loads(stage.value):
        uses = [d for d, index in enumerate(load.index) if {first, second} & set(index.variables)]
        if not uses:
            continue
        plain = [load.index[d] for d in uses] == [variable(first), variable(second)]
        if not plain or uses[1] != uses[0] + 1:
            return None
        found.add((load.buffer, uses[0]))
    return found


def _mentions(condition: InRange, first: str, second: str) -> bool:
    return bool({first, second} & set(condition.index.variables))


def _implied_pairs(program: Program, name: str, dimension: int) -> list[tuple[int, tuple[str, str] | None]]:
    """Axis pairs that stages touching this tensor must fuse; None where one cannot."""
    shape = program.tensors[name].shape
    implied: list[tuple[int, tuple[str, str] | None]] = []
    for number, stage in enumerate(program.stages):
        extents = {axis.name: axis.extent for axis in (*stage.axes, *stage.reduce_axes)}
        if stage.output.name == name:
            implied.append((number, (stage.axes[dimension].name, stage.axes[dimension + 1].name)))
        for load in loads(stage.value):
            if load.buffer == name:
                used = [load.index[d].variables for d in (dimension, dimension + 1)]
                plain = all(len(v) == 1 and extents[v[0]] == shape[dimension + i] for i, v in enumerate(used))
                implied.append((number, (used[0][0], used[1][0]) if plain else None))
    return implied


def _fuse(program: Program, pairs: dict[int, tuple[str, str]], dimensions: set[Dimension]) -> Program:
    def shrink(tensor: Tensor) -> Tensor:
        shape = list(tensor.shape)
        for name, d in dimensions:
            if name == tensor.name:
                shape[d : d + 2] = [shape[d] * shape[d + 1]]
        return replace(tensor, shape=tuple(shape))

    def shorten(expr: Expr) -> Expr | None:
        if isinstance(expr, Load):
            index = list(expr.index)
            for name, d in dimensions:
                if name == expr.buffer:
                    del index[d + 1]
            return Load(expr.buffer, tuple(index))
        return None

    stages = []
    for number, stage in enumerate(program.stages):
        axes, reduce_axes = stage.axes, stage.reduce_axes
        if number in pairs:
            axes, reduce_axes = (_merged(a, *pairs[number]) for a in (axes, reduce_axes))
        value = map_expr(stage.value, shorten)
        stages.append(
            replace(stage, output=shrink(stage.output), axes=axes, reduce_axes=reduce_axes, value=value)
        )
    return replace(program, inputs=tuple(shrink(t) for t in program.inputs), stages=tuple(stages), _hash=[])


def _merged(axes: tuple[Axis, ...], first: str, second: str) -> tuple[Axis, ...]:
    extents = {axis.name: axis.extent for axis in axes}
    return tuple(
        Axis(a.name, a.extent * extents[second]) if a.name == first else a for a in axes if a.name != second
    )
