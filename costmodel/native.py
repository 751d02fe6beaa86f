"""Scores of candidates of many sketches by native code alone.

In an anneal the chains leave a few candidates per sketch and step. Calls from Python for each sketch would
cost as much as the arithmetic, and threads would wait for each other's; so one call per thread goes
through all of its sketches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from codegen.ir.jit import Function, compile_function, compiled_once
from codegen.ir.trace_native import ROW_MULTIPLE, machine_address
from codegen.ir.trace_text import BLOCK, LANES
from codegen.schedule import Candidates, Space
from costmodel.features.featurise import SketchFeatures
from costmodel.native_text import FIELDS, driver_text

FloatArray = NDArray[np.float32]

CHUNK = 256
"""Candidates of a job at most: their features stay in the L2 cache."""

_FIELD = {name: column for column, name in enumerate(FIELDS)}


@dataclass(frozen=True)
class NativeSketch:
    """How an encoder's native code scores the candidates of one sketch, with the weights it has now.

    ``folds`` holds, by ascending number of candidates that it computes together (lanes, at most
    ``ROW_MULTIPLE``), the address of a function ``(instructions, candidates, floats per row, &instructions,
    &weights, &features, &scores, &scratch)``. It reads the varying features, shape (varying, candidates),
    clipped to ``bounds``, shape (2, varying), and needs ``num_rows`` x lanes floats of scratch memory.
    """

    features: SketchFeatures
    instructions: NDArray[np.int64]
    weights: FloatArray
    bounds: FloatArray
    num_rows: int
    folds: Mapping[int, int]


class NativeScorer:
    """Scores candidates of a space whose sketches were prepared one by one, on several threads."""

    def __init__(self, space: Space, num_threads: int) -> None:
        self._space = space
        self._table, self._starts = space.value_table()
        self._num_threads = num_threads
        self._threads = ThreadPoolExecutor(num_threads)
        self._lock = Lock()  # of the memory that the threads work in
        self.clear()

    def clear(self) -> None:
        """Forget the sketches."""
        num = len(self._space.sketches)
        self._sketches: dict[int, NativeSketch] = {}
        self._jobs = np.zeros((num, len(FIELDS)), dtype=np.int64)
        self._lanes = np.zeros((num, 2), dtype=np.int64)
        self._folds = np.zeros((num, 2), dtype=np.int64)
        self._arenas: list[_Arena] = []

    def __contains__(self, number: int) -> bool:
        return number in self._sketches

    def prepare(self, number: int, sketch: NativeSketch) -> None:
        """Make a sketch known."""
        code = sketch.features.code
        assert not len(code.constants), "constant features have no place among the varying ones"
        self._sketches[number] = sketch
        self._jobs[number] = [
            *(0, 0, 0, len(sketch.features.inputs), self._starts[number].ctypes.data),
            *(code.instructions.ctypes.data, len(code.instructions), 0, code.num_outputs),
            *(bound.ctypes.data for bound in sketch.bounds),
            *(0, sketch.instructions.ctypes.data, len(sketch.instructions), sketch.weights.ctypes.data, 0),
        ]
        lanes = sorted(sketch.folds)
        self._lanes[number] = lanes[0], lanes[-1]
        self._folds[number] = [sketch.folds[num] for num in self._lanes[number].tolist()]
        self._arenas.clear()

    def score(self, candidates: Candidates) -> FloatArray:
        """Shape (N,); all their sketches must have been prepared."""
        result = np.empty(len(candidates), dtype=np.float32)
        if not len(candidates):
            return result  # native code goes through at least one job
        positions = np.ascontiguousarray(candidates.positions)
        order = np.argsort(candidates.sketches, kind="stable")
        jobs = self._jobs_of(candidates.sketches[order], order.ctypes.data)
        with self._lock:
            if not self._arenas:
                known = list(self._sketches.values())
                self._arenas = [_arena(known) for _ in range(self._num_threads)]
            shares = [
                (np.ascontiguousarray(jobs[start :: self._num_threads]), arena, positions, result)
                for start, arena in enumerate(self._arenas)
            ]
            others = [self._threads.submit(self._run, *share) for share in shares[1:] if len(share[0])]
            self._run(*shares[0])
            for other in others:
                other.result()
        return result

    def _jobs_of(self, sketches: NDArray[np.int64], order: int) -> NDArray[np.int64]:
        """Candidates sorted by sketch as jobs of at most ``CHUNK``, the longest first."""
        numbers, first, counts = np.unique(sketches, return_index=True, return_counts=True)
        num_chunks = -(-counts // CHUNK)
        chunk = np.arange(num_chunks.sum()) - np.repeat(np.cumsum(num_chunks) - num_chunks, num_chunks)
        num = np.minimum(np.repeat(counts, num_chunks) - chunk * CHUNK, CHUNK)
        owner = np.repeat(numbers, num_chunks)
        jobs = self._jobs[owner]
        # Half a vector is enough for few candidates.
        kind = (num > self._lanes[owner, 0]).astype(np.int64)
        jobs[:, _FIELD["num"]] = num
        jobs[:, _FIELD["padded"]] = _rounded(num, LANES)
        jobs[:, _FIELD["order"]] = order + 8 * (np.repeat(first, num_chunks) + chunk * CHUNK)
        jobs[:, _FIELD["stride"]] = _stride(num)
        jobs[:, _FIELD["fold"]] = self._folds[owner, kind]
        jobs[:, _FIELD["fold_padded"]] = _rounded(num, self._lanes[owner, kind])
        cost = jobs[:, _FIELD["fold_padded"]] * jobs[:, _FIELD["num_fold_code"]]
        return np.asarray(jobs[np.argsort(-cost, kind="stable")])

    def _run(
        self, jobs: NDArray[np.int64], arena: _Arena, positions: NDArray[np.int64], result: FloatArray
    ) -> None:
        _driver().call(
            *(len(jobs), jobs.ctypes.data, positions.ctypes.data, positions.shape[1]),
            *(self._table.ctypes.data, machine_address(), result.ctypes.data, *arena.addresses),
        )


@dataclass(frozen=True)
class _Arena:
    """Memory that one thread works in: for any job, one after the other."""

    arrays: tuple[NDArray[np.float64] | FloatArray, ...]
    addresses: tuple[int, ...]


def _arena(sketches: Sequence[NativeSketch]) -> _Arena:
    codes = [sketch.features.code for sketch in sketches]
    scratch = max(sketch.num_rows * max(sketch.folds) for sketch in sketches)
    arrays = (
        np.zeros(max(len(sketch.features.inputs) for sketch in sketches) * CHUNK),
        np.zeros(max(code.num_rows for code in codes) * BLOCK + BLOCK),
        np.zeros(max(code.num_outputs for code in codes) * int(_stride(CHUNK)) + CHUNK, dtype=np.float32),
        np.zeros(CHUNK + ROW_MULTIPLE, dtype=np.float32),
        np.zeros(scratch, dtype=np.float32),
    )
    return _Arena(arrays, tuple(array.ctypes.data for array in arrays))


def _rounded(num: NDArray[np.int64], multiple: NDArray[np.int64] | int) -> NDArray[np.int64]:
    return np.asarray(-(-num // multiple) * multiple)


def _stride(num: NDArray[np.int64] | int) -> NDArray[np.int64] | int:
    """An odd multiple of a cache line: rows at powers of two would all fall into the same cache sets."""
    return -(-num // ROW_MULTIPLE) * ROW_MULTIPLE + 16


@compiled_once
def _driver() -> Function:
    """Compiled once per process."""
    return compile_function(
        driver_text(),
        "drive",
        [
            *(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64),
            *[ctypes.c_void_p] * 8,
        ],
    )
