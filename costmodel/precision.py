"""Training in bfloat16, where the CPU computes with it and it pays."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import llvmlite.binding as llvm
import torch

PRECISIONS = ("float32", "bfloat16_first")

INSTRUCTIONS = ("avx512bf16", "amx-bf16", "bf16")
"""Features of x86 and Arm CPUs that multiply bfloat16 numbers, as LLVM calls them."""


def arithmetic(*, is_bfloat16: bool) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 while it is open, or as they are."""
    return torch.autocast("cpu", torch.bfloat16) if is_bfloat16 else nullcontext()


MARGIN = 1.1
"""How many times slower a step may seem in bfloat16: what is less is noise, and would refuse now and then."""


def check_bfloat16(step: Callable[[], None], num_tries: int = 5) -> None:
    """ValueError says why bfloat16 is refused: this CPU lacks it, or a step is slower than in float32."""
    host = llvm.get_host_cpu_features()
    if not any(host.get(name) for name in INSTRUCTIONS):
        raise ValueError(
            f"precision=bfloat16_first is refused: this CPU has none of {', '.join(INSTRUCTIONS)}, "
            "so every product would be computed in float32 after conversions"
        )
    bfloat16_s, float32_s = _least_times(step, num_tries)
    if bfloat16_s > MARGIN * float32_s:
        raise ValueError(
            f"precision=bfloat16_first is refused: a step of this network takes {1e3 * bfloat16_s:.1f} ms in "
            f"bfloat16 and {1e3 * float32_s:.1f} ms in float32 here"
        )


def _least_times(step: Callable[[], None], num_tries: int) -> tuple[float, float]:
    """Of a step in bfloat16 and in float32, tried in turn after one each that warms up.

    All threads of this process together: other work on the machine hardly changes that, and both ways use as
    many threads.
    """
    times_s: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(num_tries + 1):
        for is_bfloat16, known in times_s.items():
            start_s = time.process_time()
            with arithmetic(is_bfloat16=is_bfloat16):
                step()
            known.append(time.process_time() - start_s)
    return min(times_s[True][1:]), min(times_s[False][1:])
