"""Loops that only move bytes, as machine code: a sum, a copy, and a copy past the caches."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_float, c_int64, c_void_p
from typing import Any

import llvmlite.binding as llvm

from codegen.target import Target

NUM_STREAMS = 2
"""Places at which an array is read at once: two keep more of the hardware's prefetchers busy than one."""

UNROLL = 4
"""Neighbouring vectors of a stream in an iteration; all sums together hide the latency of an addition."""

GRAIN = NUM_STREAMS * UNROLL
"""Numbers of vectors are multiples of it."""


class BandwidthLoops:
    """Three loops for a target, callable from several threads at once (the GIL is released).

    Addresses are multiples of a vector's bytes, and ``num_vectors`` is a multiple of ``GRAIN``.
    """

    def __init__(self, target: Target) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple = llvm.Target.from_triple(llvm.get_process_triple())
        machine = triple.create_target_machine(cpu=target.llvm_cpu, features=target.llvm_features, opt=3)
        lanes = target.vector_lanes
        texts = (_read_text(lanes), _copy_text("copy", lanes, ""), _copy_text("stream", lanes, _NONTEMPORAL))
        module = llvm.parse_assembly("\n".join([*texts, "!0 = !{i32 1}"]))
        module.verify()
        # ctypes functions do not keep their machine code alive; this object does.
        self._engine: Any = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        read = CFUNCTYPE(c_float, c_void_p, c_int64, c_int64)
        self._read: Callable[[int, int, int], float] = read(self._engine.get_function_address("read_loop"))
        copy = CFUNCTYPE(None, c_void_p, c_void_p, c_int64, c_int64)
        self._copies: dict[str, Callable[[int, int, int, int], None]] = {
            name: copy(self._engine.get_function_address(f"{name}_loop")) for name in ("copy", "stream")
        }

    def read(self, x: int, num_vectors: int, num_passes: int = 1) -> float:
        """Load everything; returns the sum over the passes."""
        return self._read(x, num_vectors, num_passes)

    def copy(self, y: int, x: int, num_vectors: int, num_passes: int = 1) -> None:
        """``y = x`` by plain stores, which first fetch the lines that they fill."""
        self._copies["copy"](y, x, num_vectors, num_passes)

    def stream(self, y: int, x: int, num_vectors: int, num_passes: int = 1) -> None:
        """``y = x`` by non-temporal stores, which fetch nothing and leave nothing in the caches."""
        self._copies["stream"](y, x, num_vectors, num_passes)


_NONTEMPORAL = ", !nontemporal !0"


def _read_text(lanes: int) -> str:
    vector, steps = f"<{lanes} x float>", range(GRAIN)
    carried = "\n".join(
        f"  %o{i} = phi {vector} [ zeroinitializer, %entry ], [ %n{i}, %latch ]" for i in steps
    )
    phis = "\n".join(f"  %a{i} = phi {vector} [ %o{i}, %outer ], [ %n{i}, %loop ]" for i in steps)
    adds = "\n".join(
        f"{_element('x', i, vector)}\n  %v{i} = load {vector}, ptr %px{i}\n"
        f"  %n{i} = fadd {vector} %a{i}, %v{i}"
        for i in steps
    )
    sums = "\n".join(f"  %s{i} = fadd {vector} %s{i - 1}, %n{i}" for i in steps[1:])
    return f"""
declare float @llvm.vector.reduce.fadd.v{lanes}f32(float, {vector})
define float @read_loop(ptr %x, i64 %num_vectors, i64 %num_passes) {{
entry:
  %half = udiv i64 %num_vectors, {NUM_STREAMS}
  br label %outer
outer:
  %pass = phi i64 [ 0, %entry ], [ %following, %latch ]
{carried}
  br label %loop
loop:
  %i = phi i64 [ 0, %outer ], [ %next, %loop ]
{phis}
{adds}
{_LOOP_END}
done:
  %s0 = fadd {vector} %n0, zeroinitializer
{sums}
  %sum = call reassoc float @llvm.vector.reduce.fadd.v{lanes}f32(float 0.0, {vector} %s{GRAIN - 1})
  ret float %sum
}}
"""


def _copy_text(name: str, lanes: int, how: str) -> str:
    vector = f"<{lanes} x float>"
    moves = "\n".join(
        f"{_element('x', i, vector)}\n{_element('y', i, vector)}\n"
        f"  %v{i} = load {vector}, ptr %px{i}\n  store {vector} %v{i}, ptr %py{i}{how}"
        for i in range(GRAIN)
    )
    return f"""
define void @{name}_loop(ptr %y, ptr %x, i64 %num_vectors, i64 %num_passes) {{
entry:
  %half = udiv i64 %num_vectors, {NUM_STREAMS}
  br label %outer
outer:
  %pass = phi i64 [ 0, %entry ], [ %following, %latch ]
  br label %loop
loop:
  %i = phi i64 [ 0, %outer ], [ %next, %loop ]
{moves}
{_LOOP_END}
done:
  fence seq_cst
  ret void
}}
"""


def _element(array: str, number: int, vector: str) -> str:
    stream, step = divmod(number, UNROLL)
    return (
        f"  %j{array}{number} = add i64 %i, {step}\n"
        f"  %i{array}{number} = add i64 %j{array}{number}, {'%half' if stream else 0}\n"
        f"  %p{array}{number} = getelementptr {vector}, ptr %{array}, i64 %i{array}{number}"
    )


_LOOP_END = f"""  %next = add i64 %i, {UNROLL}
  %more = icmp slt i64 %next, %half
  br i1 %more, label %loop, label %latch
latch:
  %following = add i64 %pass, 1
  %again = icmp slt i64 %following, %num_passes
  br i1 %again, label %outer, label %done"""
