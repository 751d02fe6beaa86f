"""Generated modules beside torch: all but the clock, on tensors of a CPU that the interpreter computes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.ops import Conv2d, make_inputs

pytest.importorskip("triton", reason="triton is not installed")

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
from codegen.triton.run import import_source, use_interpreter
use_interpreter()
import dataclasses, json, sys, tempfile
import numpy as np
from codegen.gpu_target import GPU_TARGETS
from codegen.measure.gpu_peers_torch import GpuRound, time_gpu_peers
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.candidate import candidate_source

name, parameters, wrong = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "wrong"
target = dataclasses.replace(GPU_TARGETS["cuda_sm80"], precision=Precision("float16"))
operator = make_operator(name, parameters)
space = build_space(operator.program(), target)
candidate = space.named(space.sample(1, np.random.default_rng(0)), 0)
source = candidate_source(operator, space, candidate, "0")
if wrong:
    source = source.replace("tl.maximum(", "tl.minimum(")

class Clock:
    def seconds(self, call, num_calls):
        call()
        return num_calls * 40e-6

with tempfile.TemporaryDirectory() as folder:
    module = import_source(source, folder)
    rounds = GpuRound(num_rounds=6, device="cpu")
    loops = space.lower_named(candidate)
    times = time_gpu_peers(operator, module, loops, target.precision, Clock(), rounds)
print(json.dumps({who: [t.is_correct, t.max_abs_error, t.summary.median_s] for who, t in times.items()}))
"""

CASES = [
    ("matmul", {"m": 33, "k": 40, "n": 20, "bias": True, "relu": True}, {"torch"}),
    (
        "conv2d",
        {
            "height": 6,
            "width": 7,
            "in_channels": 8,
            "out_channels": 5,
            "kernel": 3,
            "padding": 1,
            "relu": True,
        },
        {"torch_nchw", "torch_nhwc"},
    ),
    ("softmax", {"rows": 5, "cols": 33}, {"torch"}),
    ("layer_norm", {"rows": 5, "cols": 33}, {"torch"}),
]


def times_of(name: str, parameters: dict[str, object], how: str) -> dict[str, list[float]]:
    arguments = [name, json.dumps(parameters), how]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return times


@pytest.mark.parametrize(("name", "parameters", "rivals"), CASES, ids=[case[0] for case in CASES])
def test_all_compute_the_same_and_are_timed(
    name: str, parameters: dict[str, object], rivals: set[str]
) -> None:
    times = times_of(name, parameters, "right")
    assert set(times) == {"looprank", *rivals}
    for is_correct, error, median_s in times.values():
        assert is_correct
        assert 0 <= error < 0.1
        assert median_s == pytest.approx(40e-6)


def test_a_wrong_kernel_is_not_called_correct() -> None:
    name, parameters, _ = CASES[0]
    times = times_of(name, parameters, "wrong")
    assert not times["looprank"][0]
    assert times["looprank"][1] > 0.1
    assert times["torch"][0]


def test_every_workload_is_compiled_for_its_own_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from codegen.measure.gpu_peers_torch import compiled_runners
    from codegen.measure.peers_torch import Place

    sizes: list[list[torch.Size | None]] = []

    def backend(graph: Any, inputs: list[Any]) -> Callable[..., Any]:
        sizes.append([getattr(each, "shape", None) for each in inputs])
        forward: Callable[..., Any] = graph.forward
        return forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for size in range(6, 12):  # with two formats each more than torch compiles of one function
        layer = Conv2d(height=size, width=7, in_channels=8, out_channels=5)
        runners = compiled_runners(layer, make_inputs(layer, np.random.default_rng(0)), Place())
        assert set(runners) == {"torch_compiled_nchw", "torch_compiled_nhwc"}
        with torch.no_grad():
            for run in runners.values():
                run()
        assert sizes == [[(1, 8, size, 7), (5, 8, 3, 3)]] * 2
        assert all(type(extent) is int for shape in sizes[0] if shape for extent in shape)
        sizes.clear()
