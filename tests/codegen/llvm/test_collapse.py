"""Nested loops that run as one compute what they computed, and are fewer."""

from __future__ import annotations

import pytest

from codegen.ir.affine import variable as var
from codegen.ir.expression import Constant, InRange
from codegen.ir.loops import If, Loop, LoopProgram, Node, Scope, walk_nodes
from codegen.llvm.collapse import collapse
from codegen.llvm.emit import emit_module
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    cpu_target,
    load,
    padded,
    program,
    runnable_target,
    serial,
    store,
    unrolled,
    vector,
)

BUFFERS = {"x": (Scope.INPUT, (3, 4, 5)), "y": (Scope.OUTPUT, (3, 4, 5))}
COPY = store("y", at("i", "j", "k"), load("x", "i", "j", "k"))
DIAGONAL = store("y", at("i", "j", "k"), load("x", "i", "j", "j"))
TESTED = store("y", at("i", "j", "k"), padded(var("j") + var("k") - 1, 5, load("x", "i", "j", "k")))


def num_loops(loops: LoopProgram) -> int:
    body = collapse(loops.body, {buffer.name: buffer for buffer in loops.buffers})
    return sum(isinstance(node, Loop) for node in walk_nodes(body))


def nest(inner: Node) -> LoopProgram:
    return program(BUFFERS, serial("i", 3, serial("j", 4, inner)))


NESTS = {
    "all even": (nest(serial("k", 5, COPY)), 1),
    "vector inside": (nest(vector("k", 5, COPY)), 2),
    "turned": (program(BUFFERS, serial("j", 4, serial("i", 3, serial("k", 5, COPY)))), 3),
    "a part": (nest(serial("k", 3, COPY)), 2),
    "uneven read": (nest(serial("k", 5, DIAGONAL)), 3),
    "tested": (nest(serial("k", 5, TESTED)), 3),
    "guarded": (nest(serial("k", 5, COPY, guards=(below(var("j") + var("k"), 6),))), 3),
    "two inside": (nest(serial("k", 5, COPY, COPY)), 1),
    "a choice": (nest(serial("k", 5, If((InRange(var("i"), 0, 2),), (COPY,)))), 2),
}


@pytest.mark.parametrize("name", NESTS)
def test_loops_merge_where_every_access_steps_evenly_through_them(name: str) -> None:
    loops, expected = NESTS[name]
    assert num_loops(loops) == expected
    zero = serial("a", 3, serial("b", 4, vector("c", 5, store("y", at("a", "b", "c"), Constant(0.0)))))
    whole = LoopProgram(loops.name, loops.buffers, (zero, *loops.body))
    assert_same_as_interpreted(whole, runnable_target(8))


def test_copies_under_one_condition_share_a_branch() -> None:
    guard = below(var("i") * 8 + var("u"), 20)
    body = unrolled("u", 8, store("y", at(var("i") * 8 + var("u")), load("x", "u")), guards=(guard,))
    buffers = {"x": (Scope.INPUT, (8,)), "y": (Scope.OUTPUT, (20,))}
    loops = program(buffers, serial("i", 3, body))
    # The first four copies always run; the others all do but in the last iteration.
    text = emit_module(loops, cpu_target(8)).text
    assert text.count("icmp slt i64") == 2  # one more ends the loop
    assert text.count("br i1") <= 3
    assert text.count("store float") <= 8 + 4
    assert_same_as_interpreted(loops, runnable_target(8))
