"""Small measuring loops as machine code: compiled from LLVM text, run on pinned threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_float, c_int64, c_void_p
from types import TracebackType
from typing import Any

import llvmlite.binding as llvm

from codegen.target import Target

NUM_ACCUMULATORS = 12
"""Covers latency times throughput of every known FMA unit (4 x 2) and leaves registers on AVX2 (16)."""


class NativeLoops:
    """Loops for a target, callable from several threads at once (the GIL is released)."""

    def __init__(self, target: Target) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple = llvm.Target.from_triple(llvm.get_process_triple())
        machine = triple.create_target_machine(cpu=target.llvm_cpu, features=target.llvm_features, opt=3)
        texts = (_fma_text, _triad_text, _sweep_text)
        module = llvm.parse_assembly("".join(text(target.vector_lanes) for text in texts))
        module.verify()
        # ctypes functions do not keep their machine code alive; this object does, so they stay private to it.
        self._engine: Any = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        fma_type = CFUNCTYPE(c_float, c_int64, c_float)
        triad_type = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_int64)
        self._fma: Callable[[int, float], float] = fma_type(self._engine.get_function_address("fma_loop"))
        self._triad: Callable[[int, int, int, int], None] = triad_type(
            self._engine.get_function_address("triad_loop")
        )
        sweep_type = CFUNCTYPE(None, c_void_p, c_int64, c_int64)
        self._sweep: Callable[[int, int, int], None] = sweep_type(
            self._engine.get_function_address("sweep_loop")
        )
        self.flops_per_iteration = 2 * NUM_ACCUMULATORS * target.vector_lanes

    def fma(self, num_iterations: int, x: float) -> float:
        """Run ``NUM_ACCUMULATORS`` independent vector FMAs ``a = a x + x`` an iteration.

        Returns one lane of the accumulators' sum; each starts at x.
        """
        return self._fma(num_iterations, x)

    def triad(self, a: int, b: int, c: int, num_vectors: int) -> None:
        """Do ``a = b + 3 c`` on float32 at three addresses that are multiples of a vector; a may equal b."""
        self._triad(a, b, c, num_vectors)

    def sweep(self, a: int, num_vectors: int, num_sweeps: int) -> None:
        """Do ``a = 2 a`` on the same float32 again and again; the address is a multiple of a vector."""
        self._sweep(a, num_vectors, num_sweeps)


class PinnedTeam:
    """One thread for each of the first ``num_threads`` cores that this process may use."""

    def __init__(self, num_threads: int) -> None:
        self._cores = sorted(os.sched_getaffinity(0))[:num_threads]
        self._start = threading.Barrier(len(self._cores))
        self._executor = ThreadPoolExecutor(len(self._cores))

    def __enter__(self) -> PinnedTeam:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()

    def __len__(self) -> int:
        return len(self._cores)

    def run(self, work: Callable[[int], object]) -> list[float]:
        """Call ``work(thread number)`` on all cores at once; the seconds of each."""
        return list(self._executor.map(lambda number: self._run_one(number, work), range(len(self))))

    def _run_one(self, number: int, work: Callable[[int], object]) -> float:
        try:
            os.sched_setaffinity(0, {self._cores[number]})
        except OSError:
            self._start.abort()  # the core was taken away; the others would wait for this one for ever
            raise
        self._start.wait()
        start_s = time.perf_counter()
        work(number)
        return time.perf_counter() - start_s


def _fma_text(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    numbers = range(NUM_ACCUMULATORS)
    phis = "\n".join(f"  %a{i} = phi {vector} [ %x, %entry ], [ %n{i}, %loop ]" for i in numbers)
    fma = f"call {vector} @llvm.fma.v{lanes}f32"
    fmas = "\n".join(f"  %n{i} = {fma}({vector} %a{i}, {vector} %x, {vector} %x)" for i in numbers)
    sums = "\n".join(f"  %s{i} = fadd {vector} %s{i - 1}, %n{i}" for i in numbers[1:])
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
define float @fma_loop(i64 %num_iterations, float %value) {{
entry:
  %first = insertelement {vector} poison, float %value, i64 0
  %x = shufflevector {vector} %first, {vector} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{fmas}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %num_iterations
  br i1 %more, label %loop, label %done
done:
  %s0 = fadd {vector} %n0, zeroinitializer
{sums}
  %result = extractelement {vector} %s{NUM_ACCUMULATORS - 1}, i64 0
  ret float %result
}}
"""


def _triad_text(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    threes = ", ".join(["float 3.0"] * lanes)
    return f"""
define void @triad_loop(ptr %a, ptr %b, ptr %c, i64 %num_vectors) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %pa = getelementptr {vector}, ptr %a, i64 %i
  %pb = getelementptr {vector}, ptr %b, i64 %i
  %pc = getelementptr {vector}, ptr %c, i64 %i
  %vb = load {vector}, ptr %pb
  %vc = load {vector}, ptr %pc
  %scaled = fmul {vector} %vc, <{threes}>
  %sum = fadd {vector} %vb, %scaled
  store {vector} %sum, ptr %pa
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %num_vectors
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def _sweep_text(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    return f"""
define void @sweep_loop(ptr %a, i64 %num_vectors, i64 %num_sweeps) {{
entry:
  br label %sweep
sweep:
  %s = phi i64 [ 0, %entry ], [ %next_sweep, %swept ]
  br label %loop
loop:
  %i = phi i64 [ 0, %sweep ], [ %next, %loop ]
  %p = getelementptr {vector}, ptr %a, i64 %i
  %v = load volatile {vector}, ptr %p
  %twice = fadd {vector} %v, %v
  store volatile {vector} %twice, ptr %p
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %num_vectors
  br i1 %more, label %loop, label %swept
swept:
  %next_sweep = add i64 %s, 1
  %again = icmp slt i64 %next_sweep, %num_sweeps
  br i1 %again, label %sweep, label %done
done:
  ret void
}}
"""
