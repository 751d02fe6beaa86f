"""Our kernels beside PyTorch's on a GPU: same operands, one process, interleaved, all outputs checked.

Imports torch, as ``peers_torch`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from codegen.ir.loops import LoopProgram
from codegen.measure.config import MeasureConfig
from codegen.measure.oracle import Oracle
from codegen.measure.peers import PeerTimes
from codegen.measure.peers_torch import Place, tensors_at, torch_gpu_binders
from codegen.measure.timing import calibrate, summarise
from codegen.measure.workbench_cuda import DeviceClock, bound_call
from codegen.ops import Operator
from codegen.precision import Precision

OURS = "looprank"
"""The contestant whose module is passed."""


@dataclass(frozen=True)
class GpuRound:
    """How contestants take turns: ``num_rounds`` each, a turn lasting ``min_turn_s`` on the device."""

    num_rounds: int = 20
    min_turn_s: float = MeasureConfig().min_repeat_s / 10
    device: str = "cuda"


def time_gpu_peers(
    operator: Operator,
    module: Any,
    loops: LoopProgram,
    precision: Precision,
    clock: DeviceClock,
    rounds: GpuRound = GpuRound(),
    *,
    seed: int = 0,
    with_compiled: bool = False,
) -> dict[str, PeerTimes]:
    """Time a generated module and PyTorch in turn, each once a round, the rounds in alternating order.

    PyTorch runs in the storage format of ``precision``: eager as ``torch``, or ``torch_nchw`` and
    ``torch_nhwc`` for a convolution (cuDNN looks for its fastest algorithm beforehand), and what
    ``torch.compile`` makes of these if asked for (``torch_compiled``, with ``_nchw`` and ``_nhwc``).
    Constants of ours are packed beforehand; storing operands in the format is not timed.

    Args:
        operator: what all compute.
        module: generated for tensors of the operator's own shapes from ``loops``.
        loops: what ``module`` was generated from.
        precision: of ``module``.
        clock: times on the device.
        rounds: how they take turns, and where.
        seed: of the operands.
        with_compiled: whether torch.compile takes part.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision.dot_input == "tf32"
    oracle = Oracle(operator, operator.program(), seed, precision)
    place = Place(getattr(torch, precision.storage), rounds.device)
    runners: dict[str, Callable[[], Any]] = {
        OURS: _ours(operator, module, loops, oracle.operands, place),
    }
    runners |= {name: bind(oracle.operands) for name, bind in torch_gpu_binders(operator, place).items()}
    if with_compiled:
        runners |= compiled_runners(operator, oracle.operands, place)
    contestants = {name: _Contestant(run, clock) for name, run in runners.items()}
    with torch.no_grad():
        for contestant in contestants.values():
            contestant.run()
            contestant.num_calls, _ = calibrate(contestant.time_calls, rounds.min_turn_s)
        for number in range(rounds.num_rounds):
            for contestant in list(contestants.values())[:: 1 if number % 2 == 0 else -1]:
                contestant.take_turn()
        return {name: contestant.result(oracle) for name, contestant in contestants.items()}


def compiled_runners(
    operator: Operator, operands: Mapping[str, Any], place: Place
) -> dict[str, Callable[[], Any]]:
    """``torch.compile`` of each eager runner, for these very shapes.

    Forgets what was compiled before: to torch all operators of a kind are one function, which it compiles for
    unknown shapes when it sees a second one, and leaves to eager PyTorch after a few more.
    """
    torch.compiler.reset()
    return {
        name.replace("torch", "torch_compiled"): torch.compile(bind(operands), dynamic=False)
        for name, bind in torch_gpu_binders(operator, place).items()
    }


def _ours(
    operator: Operator, module: Any, loops: LoopProgram, operands: Mapping[str, Any], place: Place
) -> Callable[[], Any]:
    output = torch.empty(operator.user_shapes()["y"], dtype=place.dtype, device=place.device)
    call = bound_call(module, loops, tensors_at(operator, operands, place), output)

    def run() -> torch.Tensor:
        call()
        return output

    return run


@dataclass
class _Contestant:
    run: Callable[[], Any]
    clock: DeviceClock
    num_calls: int = 1
    times_s: list[float] = field(default_factory=list)

    def time_calls(self, num_calls: int) -> float:
        return self.clock.seconds(self.run, num_calls)

    def take_turn(self) -> None:
        self.times_s.append(self.time_calls(self.num_calls) / self.num_calls)

    def result(self, oracle: Oracle) -> PeerTimes:
        y = self.run().float().cpu().numpy()
        np.copyto(oracle.output, y.reshape(oracle.output.shape))
        is_correct = oracle.complaint() is None
        return PeerTimes(tuple(self.times_s), summarise(self.times_s), oracle.max_abs_error, is_correct)
