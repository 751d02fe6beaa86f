"""Our kernels beside those of libraries: same operands, one process, interleaved, all outputs checked."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.llvm.kernel import BoundKernel, Kernel
from codegen.llvm.signature import program_shape
from codegen.measure.arrays import touched_copy, touched_zeros
from codegen.measure.drift import num_preemptions
from codegen.measure.rounds import Contestant, take_rounds
from codegen.measure.steadiness import Watch
from codegen.measure.timing import Summary, calibrate, summarise, time_undisturbed
from codegen.ops import Operator, make_inputs, tolerance

Runner: TypeAlias = Callable[[], Any]
"""Computes the operator once on operands it holds. What it returns, NumPy turns into an array whose elements
are those of ``y`` in the user's order; turning it is not timed."""

Binder: TypeAlias = Callable[[Mapping[str, NDArray[np.float32]]], Runner]
"""Makes a runner from all operands, in the shapes of the operator's program."""


@dataclass(frozen=True)
class PeerTimes:
    """One contestant: seconds per call, and the greatest error against the float64 reference.

    ``is_correct`` applies the operator's tolerance to every element. In ``num_unsteady`` of the rounds, which
    all contestants share, the machine stayed slower than usual, as far as somebody looked.
    """

    times_s: tuple[float, ...]
    summary: Summary
    max_abs_error: float
    is_correct: bool
    num_unsteady: int = 0


def time_peers(
    operator: Operator,
    kernels: Mapping[str, Binder],
    num_threads: int,
    num_rounds: int = 20,
    min_repeat_s: float = 0.005,
    seed: int = 0,
    errors: Mapping[str, Mapping[str, float]] | None = None,
    beside: Sequence[Contestant] = (),
    watch: Watch | None = None,
) -> dict[str, PeerTimes]:
    """Time kernels of ours and of libraries in turn, each once a round, the rounds in alternating order.

    Libraries take part where they have the operator: ``torch_nchw`` and ``torch_nhwc`` for a convolution
    (each given its layout from the start), ``torch`` for other operators, ``torch_packed`` for convolutions
    and matrix products where torch can pack weights ahead of time, and ``onnxruntime`` for what is a node
    of ONNX, if it is installed. Weights are initialisers there, so it may pack them ahead of time as we
    may.

    Args:
        operator: what all compute.
        kernels: ours by name.
        num_threads: threads that each library may use.
        num_rounds: timed turns of each.
        min_repeat_s: least duration of a turn.
        seed: of the operands.
        errors: of the sketches that kernels come from, by the kernels' names.
        beside: what else takes a turn in each round, next to our kernels, and keeps its own times.
        watch: over the cores of ``num_threads`` threads, from this process. Rounds wait for a steady machine
            then, and are dropped whole and done again if it was slow meanwhile (``take_rounds``), which
            depends on the watch's probes alone, never on who is faster.
    """
    operands = make_inputs(operator, np.random.default_rng(seed))
    reference = operator.reference(operands).ravel()
    binders = {**kernels, **library_binders(operator, num_threads)}
    contestants = {name: _TimedRunner(bind(operands), reference) for name, bind in binders.items()}
    for contestant in contestants.values():
        contestant.num_calls, _ = calibrate(contestant.time_calls, min_repeat_s)
    num_unsteady = take_rounds([*beside, *contestants.values()], num_rounds, watch)
    program = operator.program()
    return {
        name: contestant.result(num_unsteady, *tolerance(program, errors=(errors or {}).get(name)))
        for name, contestant in contestants.items()
    }


def kernel_binder(kernel: Kernel) -> Binder:
    """A kernel of ours as a contestant: weights packed once, then the cheapest call there is."""

    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        shapes = {buffer.name: program_shape(buffer) for buffer in kernel.signature.arguments}
        arrays = {name: touched_copy(array, shapes[name]) for name, array in operands.items()}
        bound = kernel.bind(**{name: arrays[name] for name in kernel.signature.prepack_inputs})
        y = touched_zeros(shapes[bound.output.name])
        call = bound.prepare(*(arrays[buffer.name] for buffer in bound.free), out=y)
        return _KernelRunner(bound, call, y)

    return bind


def library_binders(operator: Operator, num_threads: int) -> dict[str, Binder]:
    """The libraries that can compute the operator here, by name."""
    binders: dict[str, Binder] = {}
    if importlib.util.find_spec("torch"):
        from codegen.measure.peers_torch import torch_binders

        binders.update(torch_binders(operator, num_threads))
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        from codegen.measure.peers_onnx import onnxruntime_binder

        binder = onnxruntime_binder(operator, num_threads)
        binders.update({"onnxruntime": binder} if binder else {})
    return binders


@dataclass(frozen=True)
class _KernelRunner:
    """``call`` only holds addresses; ``bound`` keeps alive what they point to."""

    bound: BoundKernel
    call: Callable[[], None]
    y: NDArray[np.float32]

    def __call__(self) -> NDArray[np.float32]:
        self.call()
        return self.y


@dataclass
class _TimedRunner:
    run: Runner
    reference: NDArray[np.float64]
    num_calls: int = 1
    times_s: list[float] = field(default_factory=list)

    def time_calls(self, num_calls: int) -> float:
        start_s = time.perf_counter()
        for _ in range(num_calls):
            self.run()
        return time.perf_counter() - start_s

    def take_turn(self) -> None:
        self.time_calls(math.ceil(self.num_calls / 4))  # wakes its threads and refills the caches
        elapsed_s = time_undisturbed(self.time_calls, self.num_calls, num_preemptions)
        self.times_s.append(elapsed_s / self.num_calls)

    def result(self, num_unsteady: int, rtol: float, atol: float) -> PeerTimes:
        error = np.abs(np.asarray(self.run()).ravel() - self.reference)
        is_correct = bool(np.all(error <= atol + rtol * np.abs(self.reference)))
        summary = summarise(self.times_s)
        return PeerTimes(tuple(self.times_s), summary, float(error.max()), is_correct, num_unsteady)
