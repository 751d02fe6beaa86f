"""Rows of the operators' table with made-up times."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.measure.peers import PeerTimes
from codegen.measure.timing import summarise
from codegen.ops import AWKWARD_WORKLOADS, WORKLOADS
from scripts.suites.operators.standings import Ceilings, Standing, make_standing


def peer(times_s: Sequence[float], is_correct: bool = True) -> PeerTimes:
    return PeerTimes(tuple(times_s), summarise(times_s), 1e-5, is_correct)


def row(name: str, ours_s: float, is_correct: bool = True, **libraries_s: float) -> Standing:
    """A workload timed in eight rounds that differ by a percent."""
    rounds = [1.0, 0.99, 1.01, 1.0, 1.0, 1.01, 0.99, 1.0]
    times = {"looprank": peer([ours_s * each for each in rounds], is_correct)}
    times |= {who: peer([seconds * each for each in rounds]) for who, seconds in libraries_s.items()}
    operator = {**WORKLOADS, **AWKWARD_WORKLOADS}[name]
    return make_standing(name, operator, times, Ceilings(200.0, 50.0), "a.sketch", 8, "v1")


ROWS = [
    row("resnet18_c2", 1e-3, onnxruntime=1.5e-3, torch_nchw=3e-3, torch_nhwc=1.2e-3),
    row("mobilenet_d1", 1e-4, torch_nchw=2e-4, torch_nhwc=1e-4, onnxruntime=0.9e-4, torch_packed=8e-5),
    row("matmul_512", 2e-3, torch=4e-3),
    row("matmul_1024", 0.1),
]
