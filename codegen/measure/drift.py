"""The state of the machine around a trial: a fixed reference kernel to see drift, and emptied caches."""

from __future__ import annotations

import resource
from types import TracebackType

from codegen.measure.arrays import touched_zeros
from codegen.measure.peak_loops import NativeLoops, PinnedTeam
from codegen.measure.steadiness import SteadinessProbe
from codegen.target import Target

NUM_ITERATIONS = 100_000
SWEPT_BYTES = 4 * 2**20
MAX_SHARED_BYTES = 32 * 2**20


def num_preemptions() -> int:
    """How often the kernel has taken a core from a thread of this process that wanted to go on."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class MachineProbe:
    """Fixed work on every core that a target's threads use.

    All cores take part, because a neighbour on one of them slows a parallel kernel as much as a
    neighbour on all.
    """

    def __init__(self, target: Target) -> None:
        self._loops = NativeLoops(target)
        self._team = PinnedTeam(target.num_threads)
        self.steadiness = SteadinessProbe(target, self._loops, self._team)
        shared_bytes = min(target.l3_bytes, MAX_SHARED_BYTES) // target.num_threads
        flushed_bytes = max(SWEPT_BYTES, 2 * target.l2_bytes + shared_bytes)
        self._arrays = [touched_zeros((flushed_bytes // 64 * 16,)) for _ in range(len(self._team))]
        self._vector_bytes = 4 * target.vector_lanes

    def __enter__(self) -> MachineProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._team.__exit__(kind, error, trace)

    def reference_s(self) -> float:
        """Seconds of about half a millisecond of FMAs and as much of memory traffic on the slowest core.

        The better of two runs, so that one interruption is not taken for drift.
        """
        return min(max(self._team.run(self._mix)) for _ in range(2))

    def flush(self) -> None:
        """Evict every core's private caches, and up to 32 MiB of the shared one, by writing other data."""
        self._team.run(lambda number: self._sweep(number, self._arrays[number].nbytes))

    def _mix(self, number: int) -> None:
        self._loops.fma(NUM_ITERATIONS, 0.5)
        self._sweep(number, SWEPT_BYTES)

    def _sweep(self, number: int, num_bytes: int) -> None:
        address = self._arrays[number].ctypes.data
        self._loops.triad(address, address, address, num_bytes // self._vector_bytes)
