"""Primitives for processors that run a nest as programs on tensors: bind, vectorize_nest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codegen.ir.loops import Loop, LoopKind, LoopProgram
from codegen.schedule.errors import require
from codegen.schedule.rewrite import chain, find_loop, loop_extents, replace_loop, wrap


def bind(program: LoopProgram, names: Sequence[str]) -> LoopProgram:
    """Give each iteration of an outermost nest a program (thread block) of its own.

    Program ids count through the loops as they are nested, the innermost fastest.

    >>> from codegen.schedule.examples import row_sum, show
    >>> from codegen.schedule.primitives.loops import split
    >>> show(bind(split(row_sum(6, 3), "i", 2, ("i0", "i1")), ["i0"]))
    parallel i0 in range(3):
        for i1 in range(2):
            c[i0*2 + i1] = 0.0
            for k in range(3):  # reduction
                c[i0*2 + i1] += a[i0*2 + i1, k]
    """
    nest = _perfect_nest(program, names)
    outermost = [node.variable for node in program.body if isinstance(node, Loop)]
    require(names[0] in outermost, f"{names[0]!r} is not an outermost loop: those are {outermost}")
    reductions = [loop.variable for loop in nest if loop.is_reduction]
    require(not reductions, f"loops {reductions} are reductions and cannot be bound to programs")
    return _as_kind(program, nest, LoopKind.PARALLEL)


def vectorize_nest(program: LoopProgram, names: Sequence[str]) -> LoopProgram:
    """Run an innermost nest as operations on tensors with a dimension per loop.

    >>> from codegen.schedule.examples import show, transpose
    >>> show(vectorize_nest(transpose(2, 4), ["i", "j"]))
    vector i in range(2):
        vector j in range(4):
            c[i, j] = a[j, i]
    """
    nest = _perfect_nest(program, names)
    loops = loop_extents(nest[-1].body)
    require(not loops, f"only an innermost nest can be vectorized; {names[-1]!r} contains {list(loops)}")
    return _as_kind(program, nest, LoopKind.VECTORIZED)


def _perfect_nest(program: LoopProgram, names: Sequence[str]) -> list[Loop]:
    loops, _ = chain(find_loop(program, names[0]))
    nest = loops[: len(names)]
    found = [loop.variable for loop in nest]
    require(found == list(names), f"{list(names)} are not a perfect nest in this order: {found}")
    return nest


def _as_kind(program: LoopProgram, nest: Sequence[Loop], kind: LoopKind) -> LoopProgram:
    changed = [replace(loop, kind=kind) for loop in nest]
    return replace_loop(program, nest[0].variable, lambda _: wrap(changed, nest[-1].body))
