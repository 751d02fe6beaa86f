"""A program is cut where its threads meet, and equal pieces are equal code."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from codegen.ir.affine import variable as var
from codegen.ir.expression import Constant
from codegen.ir.loops import Loop, LoopProgram, Scope
from codegen.llvm.artefact import load as load_kernel
from codegen.llvm.artefact import save_kernel
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module, emit_piece, module_text
from codegen.llvm.pieces import Piece, cut_program, num_useful_threads
from codegen.llvm.runtime import has_openmp
from codegen.ops import Conv2d, Operator, Softmax
from codegen.schedule import build_space
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    binary,
    cpu_target,
    load,
    parallel,
    program,
    runnable_target,
    serial,
    store,
    vector,
)

needs_threads = pytest.mark.skipif(not has_openmp(), reason="no OpenMP runtime")

CONVOLUTION = Conv2d(height=16, width=16, in_channels=16, out_channels=32, padding=1)
SPACES: dict[str, Operator] = {"convolution": CONVOLUTION, "softmax": Softmax(rows=40, cols=200)}


def winograd(unroll: int, sketch: str = "phases", **more: int) -> LoopProgram:
    space = build_space(CONVOLUTION.program(), cpu_target(8, 2))
    knobs = {"oc_register": 16, "tile_register": 3, "ic_unroll": unroll, **more}
    return space.lower_named({"sketch": f"winograd4.{sketch}", "knobs": knobs})


@pytest.mark.parametrize(
    ("sketch", "more", "num_steps"), [("phases", {}, 5), ("blocks", {"tile_rows": 2}, 1)]
)
def test_candidates_that_differ_in_one_step_differ_in_one_piece(
    sketch: str, more: dict[str, int], num_steps: int
) -> None:
    one, other = (cut_program(winograd(unroll, sketch, **more), 2) for unroll in (1, 4))
    assert len(one.body) == num_steps
    assert len(one.pieces) == 6
    assert [a == b for a, b in zip(one.pieces, other.pieces, strict=True)] == [True, True, False, *3 * [True]]
    assert {hash(piece) for piece in one.pieces} & {hash(piece) for piece in other.pieces}


@pytest.mark.parametrize("name", list(SPACES))
def test_equal_pieces_have_equal_code(name: str) -> None:
    target = cpu_target(8, 2)
    space = build_space(SPACES[name].program(), target)
    candidates = space.sample(60, np.random.default_rng(0))
    texts: dict[Piece, str] = {}
    num_pieces = 0
    for row in range(len(candidates)):
        for piece in cut_program(space.lower(candidates, row), 2).pieces:
            num_pieces += 1
            text = module_text(emit_piece(piece, target), target)
            assert texts.setdefault(piece, text) == text
    assert len(texts) < num_pieces


def filled(value: float) -> LoopProgram:
    return program(
        {"x": (Scope.INPUT, (8,)), "y": (Scope.OUTPUT, (8,))},
        vector("v", 8, store("y", at("v"), binary("div", load("x", "v"), Constant(value)))),
    )


def test_zeros_of_different_signs_are_different_code() -> None:
    x = np.ones(8, np.float32)
    results = [compile_program(filled(value), runnable_target(8))(x) for value in (0.0, -0.0, 0.0)]
    assert [result[0] for result in results] == [np.inf, -np.inf, np.inf]


def test_what_uses_the_same_registers_stays_together() -> None:
    loops = program(
        {"x": (Scope.INPUT, (8,)), "y": (Scope.OUTPUT, (8,)), "r": (Scope.REGISTER, (8,))},
        vector("v", 8, store("r", at("v"), load("x", "v"))),
        parallel("i", 4, store("y", at("i"), 0.0)),
        vector("w", 8, store("y", at("w"), load("r", "w"))),
    )
    piece, _ = cut_program(loops, 2).pieces
    assert piece.nodes == loops.body


def test_a_cut_keeps_statements_in_order() -> None:
    steps = (
        store("y", at(0), 1.0),
        store("y", at(1), 2.0),
        parallel("i", 8, store("y", at("i"), 3.0)),
        serial("s", 2, parallel("j", 8, store("y", at("j"), 4.0))),
        store("y", at(2), 5.0),
    )
    loops = program({"y": (Scope.OUTPUT, (8,)), "unused": (Scope.GLOBAL, (9,))}, *steps)
    pieces = cut_program(loops, 2).pieces[:-1]
    assert [piece.nodes for piece in pieces] == [steps[:2], steps[2:3], steps[3:4], steps[4:]]
    assert all([buffer.name for _, buffer in piece.buffers] == ["y"] for piece in pieces)


def test_a_piece_that_does_not_stream_is_emitted_once() -> None:
    space = build_space(Softmax(rows=64, cols=100_000).program(), cpu_target(16, 2))
    streamed = [sketch.name for sketch in space.sketches if sketch.name.endswith("streamed")]
    drawn = space.sample(200, np.random.default_rng(0))
    for sketch, rows in space.by_sketch(drawn):
        if space.sketches[sketch].name not in streamed:
            continue
        loops = space.lower(drawn, int(rows[0]))
        pieces = cut_program(loops, 2).pieces
        tests = sum(bool(piece.streamed) for piece in pieces)
        assert 0 < tests == emit_module(loops, cpu_target(16, 2)).text.count("ptrtoint ptr")
        return
    raise AssertionError(f"no streamed sketch among {streamed}")


def rows_of_steps(num_steps: int, size: int, scope: Scope) -> LoopProgram:
    """In each of 3 x 5 iterations, steps that each read what the one before has written."""
    shape: tuple[int, ...] = (size,) if scope is Scope.LOCAL else (3, 5, size)
    place = ("v",) if scope is Scope.LOCAL else ("i", "j", "v")
    back = (*place[:-1], var("v") * -1 + (size - 1))
    names = ["x", *(f"t{number}" for number in range(num_steps - 1)), "y"]
    steps = []
    for source, target in pairwise(names):
        read = load(source, *(("i", "j", "v") if source == "x" else back))
        index = at("i", "j", "v") if target == "y" else at(*place)
        steps.append(vector("v", size, store(target, index, binary("add", read, load("x", "j", "i", "v")))))
    buffers = {"x": (Scope.INPUT, (5, 5, size)), "y": (Scope.OUTPUT, (3, 5, size))}
    buffers |= dict.fromkeys(names[1:-1], (scope, shape))
    return program(buffers, parallel("i", 3, parallel("j", 5, *steps)))


@needs_threads
@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_large_steps_inside_a_nest_are_functions_of_its_variables(num_threads: int, scope: Scope) -> None:
    loops = rows_of_steps(3, 4099, scope)
    (step,) = cut_program(loops, num_threads).body
    assert step.extents == (3, 5)
    assert [piece.outer for piece in step.pieces] == [2, 2, 2]
    assert_same_as_interpreted(loops, runnable_target(8, num_threads))


@needs_threads
def test_a_saved_kernel_has_all_pieces(tmp_path: Path) -> None:
    kernel = compile_program(rows_of_steps(3, 4099, Scope.LOCAL), runnable_target(8, 2))
    saved = load_kernel(save_kernel(kernel, tmp_path / "kernel", {}))
    x = np.random.default_rng(0).normal(size=(5, 5, 4099)).astype(np.float32)
    np.testing.assert_array_equal(saved(x), kernel(x))


@pytest.mark.parametrize(("num_steps", "size"), [(3, 100), (2, 5000)])
def test_few_or_short_steps_inside_a_nest_are_no_functions(num_steps: int, size: int) -> None:
    (step,) = cut_program(rows_of_steps(num_steps, size, Scope.LOCAL), 2).body
    assert not step.extents
    assert len(step.pieces) == 1


def test_steps_between_guarded_loops_are_no_functions() -> None:
    whole = rows_of_steps(3, 5000, Scope.LOCAL)
    (nest,) = whole.body
    assert isinstance(nest, Loop)
    guarded = replace(whole, body=(replace(nest, guards=(below(var("i") * 2, 3),)),))
    (step,) = cut_program(guarded, 2).body
    assert not step.extents


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(100, 4), (9, 3), (6, 2), (3, 1), (0, 1)],
)
def test_guards_leave_threads_without_work(bound: int, expected: int) -> None:
    nest = parallel("i", 10, store("y", at("i"), 0.0), guards=(below(var("i") * 3, bound),))
    assert num_useful_threads((serial("s", 2, nest),), 4) == expected


@needs_threads
def test_pieces_of_other_kernels_do_not_get_mixed_up() -> None:
    target = runnable_target(8, 2)
    space = build_space(CONVOLUTION.program(), target)
    inputs = {
        tensor.name: np.random.default_rng(0).integers(-3, 4, tensor.shape).astype(np.float32)
        for tensor in space.program.inputs
    }
    candidates = space.sample(40, np.random.default_rng(1))
    kernels = [compile_program(space.lower(candidates, row), target) for row in range(40)]
    expected = CONVOLUTION.reference(inputs)
    for kernel in kernels:
        actual = kernel(**inputs)
        np.testing.assert_allclose(actual, expected.reshape(actual.shape), atol=0.05)
