"""The loop AST before any scheduling: each stage a nest in the order of its definition."""

from __future__ import annotations

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import IDENTITY, Axis, Constant, Expr, Program, Stage
from codegen.ir.loops import Buffer, Loop, LoopProgram, Node, Scope, Store
from codegen.schedule.rewrite import substitute_expr


def naive_loops(program: Program) -> LoopProgram:
    """One nest per stage; intermediate tensors live in the shared workspace.

    Loop variables carry the axis names; an axis name that an earlier stage used gets the stage's
    output name as a prefix, so variables are unique in the whole tree.
    """
    buffers = [Buffer(t.name, t.shape, Scope.INPUT) for t in program.inputs]
    for stage in program.stages:
        scope = Scope.OUTPUT if stage is program.stages[-1] else Scope.GLOBAL
        buffers.append(Buffer(stage.output.name, stage.output.shape, scope))
    body: list[Node] = []
    for stage, names in zip(program.stages, variable_names(program), strict=True):
        body.extend(_stage_nest(stage, names))
    return LoopProgram(program.name, tuple(buffers), tuple(body))


def variable_names(program: Program) -> list[dict[str, str]]:
    """For each stage the loop variable of each of its axes, unique in the program."""
    taken: set[str] = set()
    result = []
    for stage in program.stages:
        axes = (*stage.axes, *stage.reduce_axes)
        names = {a.name: f"{stage.output.name}_{a.name}" if a.name in taken else a.name for a in axes}
        taken |= set(names.values())
        result.append(names)
    return result


def _stage_nest(stage: Stage, names: dict[str, str]) -> tuple[Node, ...]:
    index = tuple(variable(names[axis.name]) for axis in stage.axes)
    value = _renamed(stage.value, names)
    inside: tuple[Node, ...] = (Store(stage.output.name, index, value, stage.reducer),)
    if stage.reducer is not None:
        update = _nest(stage.reduce_axes, names, inside, is_reduction=True)
        inside = (Store(stage.output.name, index, Constant(IDENTITY[stage.reducer])), *update)
    return _nest(stage.axes, names, inside, is_reduction=False)


def _nest(
    axes: tuple[Axis, ...], names: dict[str, str], body: tuple[Node, ...], *, is_reduction: bool
) -> tuple[Node, ...]:
    for axis in reversed(axes):
        body = (Loop(names[axis.name], axis.extent, body, is_reduction=is_reduction),)
    return body


def _renamed(value: Expr, names: dict[str, str]) -> Expr:
    values: dict[str, Affine] = {old: variable(new) for old, new in names.items() if old != new}
    return substitute_expr(value, values) if values else value
