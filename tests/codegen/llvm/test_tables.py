"""Tables: their numbers stand in the generated code, and what they multiply by zero is not there."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Binary, Expr, Load
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Buffer, Loop, LoopKind, LoopProgram, Scope, Store
from codegen.ir.text import loop_text
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module
from tests.codegen.llvm.loop_building import runnable_target

ROWS = ((0.0, 1.0, -1.0), (2.0, 0.0, 0.0), (0.0, -0.5, 3.0), (0.0, 0.0, 0.0))
TABLE = Buffer("t", (4, 3), Scope.TABLE, tuple(number for row in ROWS for number in row))
X = np.arange(24, dtype=np.float32).reshape(3, 8) - 5


def product(kind: LoopKind = LoopKind.UNROLLED) -> LoopProgram:
    """``y = t x``, rows of y in a loop of the kind."""
    i, lane = variable("i"), variable("lane")
    terms: list[Expr] = [
        Binary("mul", Load("t", (i, Affine((), k))), Load("x", (Affine((), k), lane))) for k in range(3)
    ]
    value = Binary("add", Binary("add", terms[0], terms[1]), terms[2])
    body = Loop("i", 4, (Loop("lane", 8, (Store("y", (i, lane), value),), LoopKind.VECTORIZED),), kind)
    buffers = (Buffer("x", (3, 8), Scope.INPUT), Buffer("y", (4, 8), Scope.OUTPUT), TABLE)
    return LoopProgram("product", buffers, (body,))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_a_table_times_rows_is_a_matrix_product(lanes: int) -> None:
    expected = np.array(ROWS) @ X
    np.testing.assert_array_equal(interpret_loops(product(), {"x": X}), expected)
    np.testing.assert_array_equal(compile_program(product(), runnable_target(lanes))(x=X), expected)


def test_only_factors_that_are_no_unit_multiply() -> None:
    text = emit_module(product(), runnable_target(8)).text.split("prepack")[0]
    counts = {name: text.count(f" {name} ") for name in ("fmul contract", "fsub contract", "fadd contract")}
    assert counts == {"fmul contract": 2, "fsub contract": 1, "fadd contract": 0}
    assert text.count("call <8 x float> @llvm.fma") == 1
    assert "ptr noalias %p2" not in text  # a table is no argument


def test_the_text_shows_the_numbers() -> None:
    assert "table t[4, 3] = 0.0, 1.0, -1.0, 2.0, " in loop_text(product())


def test_a_table_is_not_read_at_run_time() -> None:
    with pytest.raises(ValueError, match="table t is read in unrolled loops only"):
        emit_module(product(LoopKind.SERIAL), runnable_target(8))


def test_tables_and_only_tables_have_values() -> None:
    with pytest.raises(ValueError, match="a table has values and no other buffer, got table t"):
        Buffer("t", (1,), Scope.TABLE)
    with pytest.raises(ValueError, match="a table has values and no other buffer, got local a"):
        Buffer("a", (1,), Scope.LOCAL, (1.0,))
