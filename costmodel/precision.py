"""Training in bfloat16, where the CPU computes with it and it pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import llvmlite.binding as llvm
import numpy as np
import torch

PRECISIONS = ("float32", "bfloat16_first")

INSTRUCTIONS = ("avx512bf16", "amx-bf16", "bf16")
"""Features of x86 and Arm CPUs that multiply bfloat16 numbers, as LLVM calls them."""


def arithmetic(*, is_bfloat16: bool) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 while it is open, or as they are."""
    return torch.autocast("cpu", torch.bfloat16) if is_bfloat16 else nullcontext()


MARGIN = 1.1
"""How many times slower a step may seem in bfloat16: what is less is noise, and would refuse now and then."""


def check_bfloat16(steps: Sequence[Callable[[], None]]) -> None:
    """ValueError says why bfloat16 is refused: this CPU lacks it, or steps are slower than in float32.

    ``steps`` are two or more of other sizes, as those of a training: a library prepares products in bfloat16
    anew for every size, which one step tried again and again would pay for once. The first only warms up.
    """
    host = llvm.get_host_cpu_features()
    if not any(host.get(name) for name in INSTRUCTIONS):
        raise ValueError(
            f"precision=bfloat16_first is refused: this CPU has none of {', '.join(INSTRUCTIONS)}, "
            "so every product would be computed in float32 after conversions"
        )
    times_s = np.array([_times(step) for step in steps][1:])
    if np.median(times_s[:, 0] / times_s[:, 1]) > MARGIN:
        bfloat16_s, float32_s = np.median(times_s, axis=0)
        raise ValueError(
            f"precision=bfloat16_first is refused: a step of this network takes {1e3 * bfloat16_s:.1f} ms in "
            f"bfloat16 and {1e3 * float32_s:.1f} ms in float32 here"
        )


def _times(step: Callable[[], None]) -> tuple[float, float]:
    """Of a step in bfloat16 and in float32.

    In seconds of the processor, which other work on the machine hardly changes, and on one thread: several
    wait for each other, and the time of that is chance.
    """
    times_s = []
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for is_bfloat16 in (True, False):
            start_s = time.process_time()
            with arithmetic(is_bfloat16=is_bfloat16):
                step()
            times_s.append(time.process_time() - start_s)
    finally:
        torch.set_num_threads(num_threads)
    return times_s[0], times_s[1]
