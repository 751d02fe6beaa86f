"""How soon a core sees what another one has written.

It takes several times as long where the two share no cache. On a virtual machine that may change while it
runs, as the host moves its processors about: kernels whose threads read what others wrote become faster or
slower with it, while the rest stay as they were.
"""

from __future__ import annotations

from ctypes import c_int64, c_void_p

import numpy as np

from codegen.ir.jit import Function, compile_function, compiled_once
from codegen.measure.arrays import touched_zeros
from codegen.measure.peak_loops import PinnedTeam
from codegen.target import Target

NUM_ROUNDS = 500
NUM_RUNS = 8
MAX_POLLS = 1_000_000
"""Looks at an unchanged line, a millisecond at most, after which the other core must be busy otherwise."""

_TEXT = """
define void @bounce_loop(ptr %flag, i64 %num_rounds, i64 %side, i64 %max_polls) {
entry:
  br label %wait
wait:
  %turn = phi i64 [ %side, %entry ], [ %turn, %poll ], [ %next, %write ]
  %polls = phi i64 [ 0, %entry ], [ %more_polls, %poll ], [ 0, %write ]
  %seen = load atomic i64, ptr %flag acquire, align 8
  %is_mine = icmp eq i64 %seen, %turn
  br i1 %is_mine, label %write, label %poll
poll:
  %more_polls = add i64 %polls, 1
  %is_patient = icmp ult i64 %more_polls, %max_polls
  br i1 %is_patient, label %wait, label %done
write:
  %other = add i64 %turn, 1
  store atomic i64 %other, ptr %flag release, align 8
  %next = add i64 %turn, 2
  %round = lshr i64 %next, 1
  %more = icmp slt i64 %round, %num_rounds
  br i1 %more, label %wait, label %done
done:
  ret void
}
"""


@compiled_once
def _bounce_loop() -> Function:
    return compile_function(_TEXT, "bounce_loop", [c_void_p, c_int64, c_int64, c_int64])


class ExchangeMeter:
    """Passes a cache line to and fro between the first two cores of a target."""

    def __init__(self, target: Target) -> None:
        self._num_threads = min(2, target.num_threads)
        self._line = touched_zeros((16,)).view(np.int64)

    def exchange_s(self) -> float | None:
        """Seconds from a write on one core to its being seen on the other, the least of a few short runs.

        None where there is one core, or where others leave none of the runs alone.
        """
        with PinnedTeam(self._num_threads) as team:
            if len(team) < 2:
                return None
            runs_s = [self.run_s(team) for _ in range(NUM_RUNS)]
        return min((run_s for run_s in runs_s if run_s is not None), default=None)

    def run_s(self, team: PinnedTeam) -> float | None:
        """Of one short run on the first two cores of a team; None where one of them was kept busy."""
        self._line[:] = 0
        bounce, address = _bounce_loop().call, self._line.ctypes.data

        def work(side: int) -> None:
            if side < 2:
                bounce(address, NUM_ROUNDS, side, MAX_POLLS)

        times_s = team.run(work)[:2]
        if self._line[0] < 2 * NUM_ROUNDS:
            return None  # one of the two has given up
        # One of them starts later; the other's time has its wait in it.
        return min(times_s) / (2 * NUM_ROUNDS)
