"""Rewriting a program of rows so that what is the same for a whole row is computed once a row."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.affine import variable
from codegen.ir.expression import (
    Binary,
    Expr,
    Load,
    Program,
    Select,
    Stage,
    Tensor,
    Unary,
    loads,
)
from codegen.schedule.rewrite import map_expr, substitute_expr


def hoist_row_values(program: Program) -> Program:
    """The same computation with a stage for each value that depends on the row alone.

    A quotient by such a value becomes a product with its reciprocal, which is rounded once more; it is
    wrong where the reciprocal of a number other than 0 overflows, that is below 3e-39.
    """
    hoister = _Hoister(program)
    stages: list[Stage] = []
    for stage in program.stages:
        has_columns = len(stage.axes) + len(stage.reduce_axes) > 1
        value = hoister.hoisted(stage) if has_columns else stage.value
        stages += hoister.take_new()
        stages.append(replace(stage, value=value))
    return replace(program, stages=tuple(stages), _hash=[])


class _Hoister:
    """Stages of row values made so far, by value; equal values share one."""

    def __init__(self, program: Program) -> None:
        first = program.stages[0]
        self._row = first.axes[0]
        self._shape = (self._row.extent,)
        results = (stage.output for stage in program.stages)
        self._of_rows = {tensor.name for tensor in results if tensor.shape == self._shape}
        self._prefix = program.output.name
        self._names: dict[Expr, str] = {}
        self._new: list[Stage] = []

    def take_new(self) -> list[Stage]:
        new, self._new = self._new, []
        return new

    def hoisted(self, stage: Stage) -> Expr:
        row = stage.axes[0].name

        def change(expr: Expr) -> Expr | None:
            if isinstance(expr, Binary) and expr.op == "div" and self._is_row_value(expr.right, row):
                if self._is_row_value(expr.left, row):
                    return self._value(expr, row)
                inverse = self._value(Unary("reciprocal", expr.right), row)
                return Binary("mul", map_expr(expr.left, change), inverse)
            if isinstance(expr, (Unary, Binary, Select)) and self._is_row_value(expr, row):
                return self._value(expr, row)
            return None

        return map_expr(stage.value, change)

    def _is_row_value(self, expr: Expr, row: str) -> bool:
        found = loads(expr)
        return bool(found) and all(
            load.buffer in self._of_rows and load.index == (variable(row),) for load in found
        )

    def _value(self, expr: Expr, row: str) -> Load:
        value = substitute_expr(expr, {row: variable(self._row.name)}) if row != self._row.name else expr
        if value not in self._names:
            self._names[value] = f"{self._prefix}_row{len(self._names)}"
            tensor = Tensor(self._names[value], self._shape)
            self._new.append(Stage(tensor, (self._row,), value))
        return Load(self._names[value], (variable(row),))
