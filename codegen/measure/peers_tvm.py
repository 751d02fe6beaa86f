"""TVM MetaSchedule as a peer: the same operators tuned by it. Needs the extra ``tvm``.

It gets the plain expression of an operator and its own defaults. Packing weights ahead of time is not among
them (its layout rewriting works on whole networks), so it reads weights as they are.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.measure.peers import Binder, Runner
from codegen.ops import Conv2d, Matmul, Operator
from codegen.ops.window import both_dimensions, four_sides
from codegen.target import Target

PLAN = 64
"""Trials between two refits of its model, its default and ours."""


RECORDS = "database_tuning_record.json"
"""TVM's own file: a line per trial, in order, failed ones included."""

CLOCK = "clock.json"


def has_tvm_expression(operator: Operator) -> bool:
    """Whether the other functions know the operator: plain products and convolutions, no epilogues."""
    if not isinstance(operator, (Conv2d, Matmul)) or operator.bias or operator.relu or operator.residual:
        return False
    if isinstance(operator, Matmul):
        return operator.batch == 1 and not (operator.transpose_a or operator.transpose_b)
    is_depthwise = operator.groups == operator.in_channels == operator.out_channels
    return operator.layout == "NCHW" and (operator.groups == 1 or is_depthwise)


def tune_with_tvm(operator: Operator, target: Target, num_trials: int, folder: Path, seed: int) -> None:
    """Tune, and leave TVM's records in the folder; nothing is done if they are there already.

    ``clock.json`` is written at the end and says how many trials had been measured after how many seconds.
    """
    from tvm.s_tir import meta_schedule

    if (folder / CLOCK).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for records in folder.glob("database_*.json"):
        records.unlink()  # of a run that was killed: its clock is lost
    _set_threads(target)
    clock = _make_clock()
    task = meta_schedule.TuneContext(
        mod=_expression(operator),
        target=_tvm_target(target),
        space_generator="post-order-apply",
        search_strategy="evolutionary",
        task_name=operator.operator_name,
        rand_state=seed + 1,  # 0 is none of its seeds
        num_threads=target.num_threads,
        logger=_quiet_logger(),
    )
    meta_schedule.tune_tasks(
        tasks=[task.clone()],
        task_weights=[1.0],
        work_dir=str(folder),
        max_trials_global=num_trials,
        num_trials_per_iter=min(PLAN, num_trials),
        measure_callbacks=[
            meta_schedule.measure_callback.AddToDatabase(),
            meta_schedule.measure_callback.UpdateCostModel(),
            clock,
        ],
    )
    (folder / CLOCK).write_text(json.dumps(clock.marks))


def tvm_binders(operator: Operator, target: Target, folder: Path, seconds: float) -> dict[str, Binder]:
    """``tvm_trials``, the best of all its trials, and ``tvm_seconds``, the best of those within the seconds.

    One is absent where no kernel had been measured by then.
    """
    _set_threads(target)
    marks = json.loads((folder / CLOCK).read_text())
    num_within = max((num for elapsed_s, num in marks if elapsed_s <= seconds), default=0)
    nums = {"tvm_trials": marks[-1][1], "tvm_seconds": num_within}
    found = {who: _best_of(operator, target, folder, num) for who, num in nums.items() if num}
    return {who: _binder(operator, function) for who, function in found.items() if function is not None}


def _set_threads(target: Target) -> None:
    """TVM reads this as its pool starts. Bound threads would keep those of all others off their cores."""
    os.environ["TVM_NUM_THREADS"] = str(target.num_threads)
    os.environ["TVM_BIND_THREADS"] = "0"


def _quiet_logger() -> logging.Logger:
    """TVM would set up loggers of its own, which print every step and cannot be set up twice."""
    logger = logging.getLogger("tvm.s_tir.meta_schedule")
    logger.setLevel(logging.WARNING)
    return logger


def _make_clock() -> Any:
    """A measuring callback of TVM that notes the time after each batch of trials."""
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.measure_callback import PyMeasureCallback

    @derived_object
    class Clock(PyMeasureCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.start_s = time.monotonic()
            self.marks: list[tuple[float, int]] = []

        def apply(self, scheduler: Any, task: int, candidates: Any, built: Any, run: Any) -> None:
            num_before = self.marks[-1][1] if self.marks else 0
            self.marks.append((time.monotonic() - self.start_s, num_before + len(run)))

    return Clock()


def _expression(operator: Operator) -> Any:
    from tvm import te, topi

    assert isinstance(operator, (Conv2d, Matmul))
    shapes = operator.user_shapes()
    if isinstance(operator, Matmul):
        a, b = (te.placeholder(shapes[name], name=name) for name in ("a", "b"))
        return te.create_prim_func([a, b, topi.nn.matmul(a, b)])
    x, w = (te.placeholder(shapes[name], name=name) for name in ("x", "w"))
    stride, dilation = both_dimensions(operator.stride), both_dimensions(operator.dilation)
    is_dense = operator.groups == 1
    convolve = topi.nn.conv2d_nchw if is_dense else topi.nn.depthwise_conv2d_nchw
    return te.create_prim_func([x, w, convolve(x, w, stride, four_sides(operator.padding), dilation)])


def _tvm_target(target: Target) -> Any:
    import tvm

    off = [name for name in target.llvm_features.split(",") if name.startswith("-avx512")]
    narrow = {"mattr": off} if target.vector_lanes == 8 else {}
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": target.llvm_cpu, "num-cores": target.num_threads, **narrow}
    )


def _best_of(operator: Operator, target: Target, folder: Path, num_trials: int) -> Any:
    """The kernel of the best of the first trials, as a function of tensors; None if all of them failed."""
    import tvm
    from tvm.s_tir import meta_schedule

    with TemporaryDirectory() as first:
        for path in folder.glob("database_*.json"):
            lines = path.read_text().splitlines(keepends=True)
            (Path(first) / path.name).write_text(
                "".join(lines[:num_trials] if path.name == RECORDS else lines)
            )
        database = meta_schedule.database.JSONDatabase(work_dir=first)
        expression, chosen = _expression(operator), _tvm_target(target)
        schedule = meta_schedule.tir_integration.compile_tir(database, expression, chosen)
        return tvm.compile(schedule.mod, target=chosen)["main"] if schedule else None


def _binder(operator: Operator, function: Any) -> Binder:
    import tvm

    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        shapes = operator.user_shapes()
        names = ("a", "b") if isinstance(operator, Matmul) else ("x", "w")
        inputs = [tvm.runtime.tensor(operands[name].reshape(shapes[name])) for name in names]
        y = tvm.runtime.tensor(np.zeros(shapes["y"], np.float32))
        array: Any = np.from_dlpack(y)  # the same memory

        def run() -> Any:
            function(*inputs, y)
            return array

        return run

    return bind
