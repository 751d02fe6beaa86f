"""Shorthands for loop programs written by hand, and their comparison with the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Binary, BinaryOp, Constant, Expr, InRange, Load, Reducer, Select
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Buffer, Guard, Loop, LoopKind, LoopProgram, Node, Scope, Store
from codegen.llvm.artefact import missing_features
from codegen.llvm.build import compile_program
from codegen.target import Target

Index = str | int | Affine
CPUS = {
    4: ("x86-64-v2", ""),
    8: ("haswell", ""),
    16: ("skylake-avx512", "-prefer-256-bit"),
}


def cpu_target(lanes: int, num_threads: int = 1) -> Target:
    """A CPU of some vector width, without regard to the machine at hand."""
    llvm_cpu, features = CPUS[lanes]
    return Target(
        name=f"{lanes} lanes",
        cpu="any",
        llvm_cpu=llvm_cpu,
        llvm_features=features,
        vector_lanes=lanes,
        num_vector_registers=32 if lanes == 16 else 16,
        num_threads=num_threads,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=16 << 20,
    )


def runnable_target(lanes: int, num_threads: int = 1) -> Target:
    """Such a CPU for code that is run; the test is skipped where the machine lacks the width."""
    target = cpu_target(lanes, num_threads)
    if missing_features(target):
        pytest.skip(f"this CPU has no vectors of {lanes} lanes")
    return target


def at(*index: Index) -> tuple[Affine, ...]:
    """An index out of variables, numbers and affine expressions."""
    return tuple(
        variable(i) if isinstance(i, str) else Affine((), i) if isinstance(i, int) else i for i in index
    )


def load(buffer: str, *index: Index) -> Load:
    """``buffer[index]``."""
    return Load(buffer, at(*index))


def store(
    buffer: str, index: tuple[Affine, ...], value: Expr | float, reducer: Reducer | None = None
) -> Store:
    """``buffer[index] = value``, or an accumulation."""
    return Store(buffer, index, Constant(value) if isinstance(value, float) else value, reducer)


def binary(op: BinaryOp, left: Expr, right: Expr) -> Binary:
    """Arithmetic on two expressions."""
    return Binary(op, left, right)


def padded(index: Affine, high: int, value: Expr, otherwise: float = 0.0) -> Select:
    """``value`` where ``0 <= index < high``."""
    return Select((InRange(index, 0, high),), value, Constant(otherwise))


def below(index: Affine, bound: int) -> Guard:
    """The guard ``index < bound``."""
    return Guard(index, bound)


def serial(name: str, extent: int, *body: Node, guards: tuple[Guard, ...] = (), unroll: int = 1) -> Loop:
    """A serial loop."""
    return Loop(name, extent, body, LoopKind.SERIAL, guards, unroll)


def unrolled(name: str, extent: int, *body: Node, guards: tuple[Guard, ...] = ()) -> Loop:
    """An unrolled loop."""
    return Loop(name, extent, body, LoopKind.UNROLLED, guards)


def vector(name: str, extent: int, *body: Node, guards: tuple[Guard, ...] = ()) -> Loop:
    """A vectorized loop."""
    return Loop(name, extent, body, LoopKind.VECTORIZED, guards)


def parallel(name: str, extent: int, *body: Node, guards: tuple[Guard, ...] = ()) -> Loop:
    """A parallel loop."""
    return Loop(name, extent, body, LoopKind.PARALLEL, guards)


def program(
    buffers: dict[str, tuple[Scope, tuple[int, ...]]], *body: Node, prepack: tuple[Node, ...] = ()
) -> LoopProgram:
    """A program with buffers given as ``{name: (scope, shape)}``."""
    made = tuple(Buffer(name, shape, scope) for name, (scope, shape) in buffers.items())
    return LoopProgram("test", made, body, prepack)


def some_inputs(loops: LoopProgram, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Small integers, so that sums in any order are exact."""
    rng = np.random.default_rng(seed)
    return {
        buffer.name: rng.integers(-4, 5, buffer.shape).astype(np.float32)  # type: ignore[arg-type]
        for buffer in loops.buffers
        if buffer.scope is Scope.INPUT
    }


def assert_same_as_interpreted(loops: LoopProgram, target: Target, tolerance: float = 0.0) -> None:
    """The compiled program computes what the interpreter computes."""
    inputs = some_inputs(loops)
    expected = interpret_loops(loops, inputs)
    actual = compile_program(loops, target)(**inputs)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
