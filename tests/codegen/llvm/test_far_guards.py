"""Lane masks of guards that reach beyond 32 bits."""

from __future__ import annotations

import pytest

from codegen.ir.affine import variable as var
from codegen.ir.loops import LoopProgram, Scope
from codegen.llvm.emit import emit_module
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    cpu_target,
    load,
    program,
    runnable_target,
    serial,
    store,
    vector,
)


def rows_apart(distance: int) -> LoopProgram:
    """Row i of y is a copy of x in its columns j where ``i * distance + j < 2 * distance + 5``."""
    guard = below(var("i") * distance + var("j"), 2 * distance + 5)
    return program(
        {"x": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (4, 16))},
        serial(
            "i",
            4,
            vector("z", 16, store("y", at("i", "z"), 0.0)),
            vector("j", 16, store("y", at("i", "j"), load("x", "j"), "sum"), guards=(guard,)),
        ),
    )


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("distance", [16, 2**30, 2**31, 2**32, 2**40])
def test_rows_far_apart_are_masked_like_near_ones(lanes: int, distance: int) -> None:
    assert_same_as_interpreted(rows_apart(distance), runnable_target(lanes))


@pytest.mark.parametrize(("distance", "is_narrow"), [(16, True), (2**32, False)])
def test_only_far_guards_compare_wide_integers(distance: int, is_narrow: bool) -> None:
    text = emit_module(rows_apart(distance), cpu_target(8)).text
    assert ("icmp slt <8 x i32>" in text) == is_narrow
