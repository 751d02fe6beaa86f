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


def check_bfloat16(step: Callable[[], None], num_tries: int = 5) -> None:
    """ValueError says why bfloat16 is refused: this CPU lacks it, or a step is slower than in float32."""
    host = llvm.get_host_cpu_features()
    if not any(host.get(name) for name in INSTRUCTIONS):
        raise ValueError(
            f"precision=bfloat16_first is refused: this CPU has none of {', '.join(INSTRUCTIONS)}, "
            "so every product would be computed in float32 after conversions"
        )
    slow_s, fast_s = (_seconds(step, num_tries, is_bfloat16=flag) for flag in (True, False))
    if slow_s > fast_s:
        raise ValueError(
            f"precision=bfloat16_first is refused: a step of this network takes {1e3 * slow_s:.1f} ms in "
            f"bfloat16 and {1e3 * fast_s:.1f} ms in float32 here"
        )


def _seconds(step: Callable[[], None], num_tries: int, *, is_bfloat16: bool) -> float:
    """The least of several times, after one that warms up."""
    times_s = []
    for _ in range(num_tries + 1):
        start_s = time.perf_counter()
        with arithmetic(is_bfloat16=is_bfloat16):
            step()
        times_s.append(time.perf_counter() - start_s)
    return min(times_s[1:])
