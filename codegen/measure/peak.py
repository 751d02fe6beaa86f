"""What a CPU can reach at most: arithmetic rate and memory bandwidth, measured in a fraction of a second."""

from __future__ import annotations

import time
from dataclasses import dataclass

from codegen.measure.arrays import touched_zeros
from codegen.measure.peak_loops import NativeLoops, PinnedTeam
from codegen.target import Target

STREAM_BYTES = 16 * 2**20
"""Size of each of the three arrays of a thread: beyond the second-level cache of every known core."""


@dataclass(frozen=True)
class Peak:
    """Rates in 10^9 per second. ``gflops_per_core`` is one core alone, the others all threads of the target.

    ``bandwidth_gb_s`` counts the bytes that ``a = b + 3 c`` names (as STREAM does, without the line fill
    of ``a``), on arrays larger than private caches; a very large shared cache shows through.
    """

    gflops_per_core: float
    gflops_all: float
    bandwidth_gb_s: float


def measure_peak(target: Target, num_runs: int = 6) -> Peak:
    """The best of several short runs each, since other work can only make them slower.

    Takes about 0.2 s. The sum of the threads' own rates is taken, so a late start of one does not count.
    """
    loops = NativeLoops(target)
    with PinnedTeam(1) as single, PinnedTeam(target.num_threads) as team:
        return Peak(
            gflops_per_core=_fma_rate(loops, single, num_runs) / 1e9,
            gflops_all=_fma_rate(loops, team, num_runs) / 1e9,
            bandwidth_gb_s=_stream_rate(loops, team, num_runs, 4 * target.vector_lanes) / 1e9,
        )


def _fma_rate(loops: NativeLoops, team: PinnedTeam, num_runs: int) -> float:
    start_s = time.perf_counter()
    loops.fma(100_000, 0.5)
    num_iterations = max(1, int(100_000 * 0.01 / (time.perf_counter() - start_s)))
    flops = num_iterations * loops.flops_per_iteration

    def work(_: int) -> None:
        loops.fma(num_iterations, 0.5)

    return max(sum(flops / seconds for seconds in team.run(work)) for _ in range(num_runs))


def _stream_rate(loops: NativeLoops, team: PinnedTeam, num_runs: int, vector_bytes: int) -> float:
    arrays = [[touched_zeros((STREAM_BYTES // 4,)) for _ in range(3)] for _ in range(len(team))]

    def work(number: int) -> None:
        a, b, c = (array.ctypes.data for array in arrays[number])
        loops.triad(a, b, c, STREAM_BYTES // vector_bytes)

    return max(sum(3 * STREAM_BYTES / seconds for seconds in team.run(work)) for _ in range(num_runs))
