"""Text forms: golden texts, and what the structural hash does and does not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import symbol
from codegen.ir.expression import Axis, Binary, Constant, InRange, Load, Program, Stage, Tensor
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Scope, Store
from codegen.ir.text import affine_text, loop_text, program_text
from codegen.ops import Conv2d, Operator
from tests.strategies import operators


def test_a_program_prints_inputs_and_stages() -> None:
    operator = Conv2d(height=8, width=8, in_channels=2, out_channels=3, padding=1, bias=True, relu=True)
    assert program_text(operator.program()) == (
        "program conv2d\n"
        "input x[1, 2, 8, 8]\n"
        "constant w[3, 2, 3, 3]\n"
        "constant bias[3]\n"
        "y_conv2d[i0<1, i1<3, i2<8, i3<8] = sum[r0<2, r1<3, r2<3] "
        "select(0 <= i2 + r1 - 1 < 8 and 0 <= i3 + r2 - 1 < 8, x[i0, r0, i2 + r1 - 1, i3 + r2 - 1], 0.0)"
        " * w[i1, r0, r1, r2]\n"
        "y[i0<1, i1<3, i2<8, i3<8] = max(y_conv2d[i0, i1, i2, i3] + bias[i1], 0.0)\n"
    )


def test_loops_print_like_python() -> None:
    ow = variable("ow0") * 16 + variable("ow1")
    vector = Loop(
        "ow1",
        16,
        (Store("acc", (variable("ow1"),), Load("x", (ow - 1,)), "sum"),),
        LoopKind.VECTORIZED,
        (Guard(ow, 56),),
    )
    loops = LoopProgram(
        "tiny",
        (
            Buffer("x", (56,), Scope.INPUT),
            Buffer("y", (56,), Scope.OUTPUT),
            Buffer("w_packed", (2, 3), Scope.PACKED),
            Buffer("acc", (16,), Scope.REGISTER),
        ),
        body=(
            Loop(
                "ow0",
                4,
                (
                    Loop("k", 6, (vector,), unroll=2, is_reduction=True),
                    If(
                        (InRange(variable("ow0"), 0, 3),),
                        (Store("y", (Affine(),), Constant(0)),),
                        (Store("y", (Affine((), 1),), Constant(1)),),
                    ),
                ),
                LoopKind.PARALLEL,
            ),
        ),
        prepack=(Store("w_packed", (Affine(), Affine()), Constant(2.5)),),
    )
    assert loop_text(loops) == (
        "program tiny\n"
        "input x[56]\n"
        "output y[56]\n"
        "packed w_packed[2, 3]\n"
        "register acc[16]\n"
        "prepack:\n"
        "    w_packed[0, 0] = 2.5\n"
        "body:\n"
        "    parallel ow0 in range(4):\n"
        "        for k in range(6) unroll 2:  # reduction\n"
        "            vector ow1 in range(16): if ow0*16 + ow1 < 56\n"
        "                acc[ow1] += x[ow0*16 + ow1 - 1]\n"
        "        if 0 <= ow0 < 3:\n"
        "            y[0] = 0.0\n"
        "        else:\n"
        "            y[1] = 1.0\n"
    )


def test_the_numbers_of_a_batch_print_as_question_marks() -> None:
    many = np.array([2, 4])
    assert (
        affine_text(variable("i") * many + variable("j") * symbol("tile") + Affine((), many))
        == "i*? + j*? + ?"
    )


def test_negative_terms_print_as_differences() -> None:
    assert affine_text(variable("i") * -1 + variable("j") * -2 - 3) == "-i - j*2 - 3"


def test_numpy_integers_print_plainly() -> None:
    assert affine_text(variable("i") * np.int64(3)) == "i*3"


def _copy(i: str, j: str, *, is_swapped: bool = False, name: str = "copy") -> Program:
    terms = variable(i) * 2 + variable(j)
    terms = variable(j) + variable(i) * 2 if is_swapped else terms
    stage = Stage(Tensor("y", (3, 2)), (Axis(i, 3), Axis(j, 2)), Load("x", (terms,)))
    return Program(name, (Tensor("x", (6,)),), (stage,))


def test_names_of_axes_and_of_the_program_do_not_change_the_hash() -> None:
    assert _copy("a", "b").hash == _copy("row", "col", name="other").hash


def test_the_order_of_index_terms_does_not_change_the_hash() -> None:
    assert _copy("a", "b").hash == _copy("b", "a", is_swapped=True).hash


def test_swapped_axes_change_the_hash() -> None:
    program = _copy("a", "b")
    stage = replace(program.stages[0], value=Load("x", (variable("a") + variable("b") * 3,)))
    assert Program("copy", program.inputs, (stage,)).hash != program.hash


def test_constness_of_an_input_changes_the_hash() -> None:
    program = _copy("a", "b")
    assert Program("copy", (Tensor("x", (6,), is_constant=True),), program.stages).hash != program.hash


def test_grouping_of_arithmetic_is_kept() -> None:
    x, y, z = (Load(name, (Affine(),)) for name in "xyz")
    left = Stage(Tensor("o", ()), (), Binary("sub", Binary("sub", x, y), z))
    right = Stage(Tensor("o", ()), (), Binary("sub", x, Binary("sub", y, z)))
    assert program_text(Program("p", (), (left,))) != program_text(Program("p", (), (right,)))


@given(left=operators(), right=operators())
def test_different_operators_have_different_hashes(left: Operator, right: Operator) -> None:
    a, b = left.program(), right.program()
    is_same = (a.inputs, a.stages) == (b.inputs, b.stages)
    assert (a.hash == b.hash) == is_same
