"""The interpreters follow the semantics of programs and loops to the letter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Binary, Constant, InRange, Load, Program, Select, Stage, Tensor, Unary
from codegen.ir.interpret import interpret_loops, interpret_program
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Node, Scope, Store

X = np.arange(1.0, 7.0, dtype=np.float32)
ROW, COL, K = variable("i"), variable("j"), variable("k")
BUFFERS = (Buffer("x", (6,), Scope.INPUT), Buffer("y", (6,), Scope.OUTPUT))


def _run(*body: Node, buffers: tuple[Buffer, ...] = BUFFERS, prepack: tuple[Node, ...] = ()) -> list[float]:
    return interpret_loops(LoopProgram("test", buffers, body, prepack), {"x": X}).tolist()


def _program(value: Select | Load) -> Program:
    return Program("p", (Tensor("x", (6,)),), (Stage(Tensor("y", (6,)), (Axis("i", 6),), value),))


def test_loads_of_the_branch_not_taken_never_happen() -> None:
    shifted = Load("x", (ROW - 2,))
    program = _program(Select((InRange(ROW - 2, 0, 6),), shifted, Constant(-1.0)))
    assert interpret_program(program, {"x": X}).tolist() == [-1, -1, 1, 2, 3, 4]
    with pytest.raises(IndexError, match="load of x leaves its 6 elements"):
        interpret_program(_program(shifted), {"x": X})
    store = Store("y", (ROW,), Select((InRange(ROW - 2, 0, 6),), shifted, Constant(-1.0)))
    assert _run(Loop("i", 6, (store,))) == [-1, -1, 1, 2, 3, 4]


def test_a_maximum_starts_below_every_number() -> None:
    stage = Stage(Tensor("y", ()), (), Unary("neg", Load("x", (K,))), (Axis("k", 6),), "max")
    assert interpret_program(Program("p", (Tensor("x", (6,)),), (stage,)), {"x": X}) == -1.0


@pytest.mark.parametrize("kind", LoopKind)
def test_guards_cut_the_tail_of_a_tile(kind: LoopKind) -> None:
    index = ROW * 4 + COL
    inner = Loop("j", 4, (Store("y", (index,), Load("x", (index,))),), kind, (Guard(index, 6),))
    assert _run(Loop("i", 2, (inner,))) == X.tolist()


def test_an_unguarded_tail_leaves_the_buffer() -> None:
    index = ROW * 4 + COL
    inner = Loop("j", 4, (Store("y", (index,), Constant(0.0)),))
    with pytest.raises(IndexError, match=r"index 6 of y in dimension 0 leaves 0\.\.5, at {'i': 1, 'j': 2}"):
        _run(Loop("i", 2, (inner,)))


def test_a_negative_index_does_not_wrap_around() -> None:
    with pytest.raises(IndexError, match="index -1 of x"):
        _run(Store("y", (Affine(),), Load("x", (Affine((), -1),))))


def test_what_is_never_written_is_nan() -> None:
    y = _run(Loop("i", 3, (Store("y", (ROW * 2,), Constant(1.0)),)))
    assert np.isnan(y).tolist() == [False, True] * 3


def test_a_sum_without_initialisation_is_nan() -> None:
    y = _run(Loop("i", 6, (Store("y", (ROW,), Load("x", (ROW,)), "sum"),)))
    assert np.isnan(y).all()


def test_a_relu_does_not_hide_a_missing_initialisation() -> None:
    acc = Buffer("acc", (1,), Scope.REGISTER)
    relu = Binary("max", Load("acc", (Affine(),)), Constant(0.0))
    assert np.isnan(_run(Store("y", (Affine(),), relu), buffers=(*BUFFERS, acc))[0])


@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.REGISTER])
def test_private_buffers_do_not_live_from_one_parallel_iteration_to_the_next(scope: Scope) -> None:
    zero = Affine()
    first_only = If((InRange(ROW, 0, 1),), (Store("acc", (zero,), Constant(7.0)),))
    copy = Store("y", (ROW,), Load("acc", (zero,)))
    buffers = (*BUFFERS, Buffer("acc", (1,), scope))
    parallel = Loop("i", 6, (first_only, copy), LoopKind.PARALLEL)
    assert np.isnan(_run(parallel, buffers=buffers)).tolist() == [False] + [True] * 5
    assert _run(replace(parallel, kind=LoopKind.SERIAL), buffers=buffers) == [7.0] * 6


def test_if_runs_one_branch() -> None:
    node = If(
        (InRange(ROW, 1, 5), InRange(ROW, 0, 3)),
        (Store("y", (ROW,), Constant(1.0)),),
        (Store("y", (ROW,), Constant(0.0)),),
    )
    assert _run(Loop("i", 6, (node,))) == [0, 1, 1, 0, 0, 0]


def test_prepack_runs_once_before_the_body_and_its_buffers_are_read_only_there() -> None:
    packed = Buffer("p", (6,), Scope.PACKED)
    reverse = Loop("i", 6, (Store("p", (ROW,), Load("x", (ROW * -1 + 5,))),))
    copy = Loop("i", 6, (Store("y", (ROW,), Load("p", (ROW,))),))
    assert _run(copy, buffers=(*BUFFERS, packed), prepack=(reverse,)) == X[::-1].tolist()
    with pytest.raises(ValueError, match="p is packed, which is not written here"):
        _run(reverse, buffers=(*BUFFERS, packed))
    with pytest.raises(ValueError, match="x is input, which is not written here"):
        _run(Store("x", (Affine(),), Constant(0.0)))
    with pytest.raises(ValueError, match="y is output, which is not written here"):
        _run(copy, buffers=(*BUFFERS, packed), prepack=(copy,))


def test_a_reduction_in_registers_computes_a_matrix_product() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (5, 7)), rng.integers(-3, 4, (7, 3))
    acc = (variable("j1"),)
    row, col = ROW, variable("j0") * 2 + variable("j1")
    guard = (Guard(col, 3),)
    product = Binary("mul", Load("a", (row, K)), Load("b", (K, col)))
    body = (
        Loop("j1", 2, (Store("acc", acc, Constant(0.0)),), LoopKind.UNROLLED),
        Loop("k", 7, (Loop("j1", 2, (Store("acc", acc, product, "sum"),), LoopKind.UNROLLED, guard),)),
        Loop("j1", 2, (Store("y", (row, col), Load("acc", acc)),), LoopKind.VECTORIZED, guard),
    )
    loops = LoopProgram(
        "matmul",
        (
            Buffer("a", (5, 7), Scope.INPUT),
            Buffer("b", (7, 3), Scope.INPUT),
            Buffer("y", (5, 3), Scope.OUTPUT),
            Buffer("acc", (2,), Scope.REGISTER),
        ),
        (Loop("i", 5, (Loop("j0", 2, body),), LoopKind.PARALLEL),),
    )
    np.testing.assert_array_equal(interpret_loops(loops, {"a": a, "b": b}), a @ b)


def test_missing_and_misshapen_inputs_are_named() -> None:
    program = _program(Load("x", (ROW,)))
    with pytest.raises(ValueError, match="input x is missing, got z"):
        interpret_program(program, {"z": X})
    with pytest.raises(ValueError, match=r"input x must have shape \(6,\), got \(5,\)"):
        interpret_program(program, {"x": X[:5]})
    with pytest.raises(ValueError, match="input x is missing, got none"):
        interpret_loops(LoopProgram("p", BUFFERS, ()), {})


def test_a_batch_of_candidates_is_refused() -> None:
    loop = Loop("i", np.array([2, 3]), (Store("y", (ROW,), Constant(0.0)),))
    with pytest.raises(ValueError, match="one candidate with plain ints, got ndarray"):
        _run(loop)
