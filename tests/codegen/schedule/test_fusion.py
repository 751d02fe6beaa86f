"""Stages run together only where each reads what the others have written by then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Binary, Constant, Expr, Load, Program, Stage, Tensor, Unary
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Buffer, Loop, LoopProgram, Scope, Store
from codegen.ir.text import loop_text
from codegen.schedule import ScheduleError, build_space
from codegen.schedule.examples import scaled_relu
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives import compute_at, fuse, make_local
from codegen.schedule.rules.contraction import match
from codegen.schedule.rules.elementwise import elementwise_sketches
from codegen.schedule.rules.rowwise import rowwise_sketches
from tests.targets import make_target

ROW, COLUMN = variable("i"), variable("j")


def stage(name: str, shape: tuple[int, ...], value: Expr, reduced: int = 0) -> Stage:
    """Axes i, j of the result, and k where it sums."""
    axes = tuple(Axis(axis, size) for axis, size in zip("ij", shape))
    reduce_axes = (Axis("k", reduced),) if reduced else ()
    return Stage(Tensor(name, shape), axes, value, reduce_axes, "sum" if reduced else None)


def doubled(buffer: str, *index: Affine) -> Expr:
    return Binary("mul", Load(buffer, index), Constant(2.0))


def program(shape: tuple[int, ...], *stages: Stage) -> Program:
    return Program("test", (Tensor("a", shape),), stages)


LATE = program(
    (6,),
    stage("b", (6,), doubled("a", ROW)),
    stage("z", (6,), doubled("a", ROW)),
    stage("c", (6,), Binary("add", Load("b", (ROW,)), Load("z", (ROW * -1 + 5,)))),
)
FLIPPED = program((6,), stage("b", (6,), doubled("a", ROW)), stage("c", (6,), doubled("b", ROW * -1 + 5)))
FIRST_ROW_ONLY = program(
    (6, 4), stage("b", (6, 4), doubled("a", ROW, COLUMN)), stage("c", (6, 4), doubled("b", Affine(), COLUMN))
)
SHIFTED_COLUMN = program(
    (6, 5), stage("b", (6, 5), doubled("a", ROW, COLUMN)), stage("c", (6, 4), doubled("b", ROW, COLUMN + 1))
)
NEXT_ROW = LoopProgram(
    "test",
    (Buffer("a", (6, 5), Scope.INPUT), Buffer("b", (6, 5), Scope.GLOBAL), Buffer("c", (5, 5), Scope.OUTPUT)),
    (
        Loop(
            "i",
            5,
            (
                Loop("j", 5, (Store("b", (ROW, COLUMN), Load("a", (ROW, COLUMN))),)),
                Loop("k", 5, (Store("c", (ROW, variable("k")), Load("b", (ROW + 1, variable("k")))),)),
            ),
        ),
    ),
)
CROPPED = program((6,), stage("b", (6,), doubled("a", ROW)), stage("c", (4,), doubled("b", ROW)))
GATED = program(
    (6,),
    stage("b", (6,), doubled("a", ROW)),
    stage("s", (6,), Unary("tanh", Load("b", (ROW,)))),
    stage("c", (6,), Binary("mul", Load("b", (ROW,)), Load("s", (ROW,)))),
)


def fused_rows(source: Program) -> LoopProgram:
    return fuse(naive_loops(source), ("i", "c_i"))


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ("'b' is not accessed alike", lambda: fused_rows(FLIPPED)),
        ("'b' is not accessed alike", lambda: fused_rows(FIRST_ROW_ONLY)),
        ("'b' is read elsewhere", lambda: make_local(NEXT_ROW, "i", "b")),
        ("'b' is read by more than 's'", lambda: compute_at(naive_loops(GATED), "b", "s")),
        (r"\['z'\] are not computed before 'b' is", lambda: compute_at(naive_loops(LATE), "b", "c")),
        ("'c' is not elementwise in 'b'", lambda: compute_at(naive_loops(CROPPED), "b", "c")),
    ],
)
def test_a_step_that_would_read_what_is_not_there_is_refused(
    message: str, step: Callable[[], LoopProgram]
) -> None:
    with pytest.raises(ScheduleError, match=message):
        step()


def test_what_is_read_further_along_a_local_row_is_found_there() -> None:
    loops = make_local(fused_rows(SHIFTED_COLUMN), "i", "b")
    assert "c[i, c_j] = b[c_j + 1] * 2.0" in loop_text(loops)
    a = np.arange(30, dtype=np.float32).reshape(6, 5)
    np.testing.assert_array_equal(interpret_loops(loops, {"a": a}), 4.0 * a[:, 1:])


def test_loops_inside_others_fuse_too() -> None:
    both = program(
        (6, 5), stage("b", (6, 5), doubled("a", ROW, COLUMN)), stage("c", (6, 5), doubled("b", ROW, COLUMN))
    )
    loops = fuse(fuse(naive_loops(both), ("i", "c_i")), ("j", "c_j"))
    assert loop_text(loops).count("for ") == 2
    with pytest.raises(ScheduleError, match="do not stand next to each other"):
        fuse(naive_loops(both), ("j", "c_j"))


def test_loops_that_share_no_buffer_fuse() -> None:
    independent = program(
        (6,), stage("b", (6,), doubled("a", ROW)), stage("c", (6,), doubled("a", ROW * -1 + 5))
    )
    assert len(fused_rows(independent).body) == 1
    assert len(fuse(scaled_relu(4), ("i", "c_i")).body) == 1


@pytest.mark.parametrize("source", [FLIPPED, CROPPED, GATED], ids=["flipped", "cropped", "gated"])
def test_chains_with_other_reads_have_no_elementwise_sketch(source: Program) -> None:
    assert not elementwise_sketches(source, make_target())


def product(*epilogue: Stage) -> Program:
    """Row sums of a, then an epilogue."""
    total = stage("t", (6,), Load("a", (ROW, variable("k"))), reduced=4)
    return Program("test", (Tensor("a", (6, 4)),), (total, *epilogue))


@pytest.mark.parametrize(
    "epilogue",
    [
        (stage("c", (6,), doubled("t", ROW * -1 + 5)),),
        (stage("c", (4,), doubled("t", ROW)),),
        (
            stage("s", (6,), Unary("tanh", Load("t", (ROW,)))),
            stage("c", (6,), Binary("mul", Load("t", (ROW,)), Load("s", (ROW,)))),
        ),
    ],
    ids=["flipped", "cropped", "gated"],
)
def test_epilogues_with_other_reads_match_no_contraction(epilogue: tuple[Stage, ...]) -> None:
    assert match(product(*epilogue), make_target()) is None


def test_rows_that_read_other_rows_have_no_rowwise_sketch() -> None:
    assert rowwise_sketches(product(stage("c", (6,), doubled("t", ROW))), make_target())
    assert not rowwise_sketches(product(stage("c", (6,), doubled("t", ROW * -1 + 5))), make_target())
    with pytest.raises(ValueError, match="no sketch rule applies"):
        build_space(product(stage("c", (6,), doubled("t", ROW * -1 + 5))), make_target())
