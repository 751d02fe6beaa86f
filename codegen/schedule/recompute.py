"""Rewriting a program for processors that compute faster than they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from codegen.ir.affine import variable
from codegen.ir.expression import Expr, Load, Program, Stage, Tensor, loads
from codegen.schedule.rewrite import map_expr, substitute_expr


def inline_elementwise(program: Program, is_kept: Callable[[Expr], bool] = lambda value: False) -> Program:
    """The same computation without intermediate elementwise tensors: each reader computes them anew.

    Those whose value ``is_kept`` stay.
    """
    values: dict[str, tuple[tuple[str, ...], Expr]] = {}

    def inlined(expr: Expr) -> Expr | None:
        if not isinstance(expr, Load) or expr.buffer not in values:
            return None
        axes, value = values[expr.buffer]
        return substitute_expr(value, dict(zip(axes, expr.index, strict=True)))

    stages = []
    for stage in program.stages:
        value = map_expr(stage.value, inlined)
        is_last = stage is program.stages[-1]
        if stage.reducer is None and not is_last and not is_kept(value):
            values[stage.output.name] = tuple(axis.name for axis in stage.axes), value
        else:
            stages.append(replace(stage, value=value))
    return replace(program, stages=tuple(stages), _hash=[])


def read_once(program: Program) -> Program:
    """The same computation with each input that several stages read element by element copied first."""
    copies: dict[str, Stage] = {}
    for tensor in program.inputs:
        readers = [stage for stage in program.stages if _reads(stage, tensor)]
        axes = (*readers[0].axes, *readers[0].reduce_axes) if readers else ()
        if len(readers) > 1 and tuple(axis.extent for axis in axes) == tensor.shape:
            index = tuple(variable(axis.name) for axis in axes)
            copy = Tensor(f"{tensor.name}_read", tensor.shape)
            copies[tensor.name] = Stage(copy, axes, Load(tensor.name, index))

    def redirect(expr: Expr) -> Expr | None:
        if isinstance(expr, Load) and expr.buffer in copies:
            return Load(copies[expr.buffer].output.name, expr.index)
        return None

    stages = (replace(stage, value=map_expr(stage.value, redirect)) for stage in program.stages)
    return replace(program, stages=(*copies.values(), *stages), _hash=[])


def _reads(stage: Stage, tensor: Tensor) -> bool:
    return any(load.buffer == tensor.name for load in loads(stage.value))
