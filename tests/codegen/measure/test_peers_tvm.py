"""TVM tunes the same operators, and its best after fewer trials can be had as well."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from codegen.measure.detect import detect_target
from codegen.measure.peers_tvm import has_tvm_expression, tune_with_tvm, tvm_binders
from codegen.ops import AWKWARD_WORKLOADS, WORKLOADS, Conv2d, Matmul, Operator, Softmax, make_inputs

CONV = Conv2d(height=9, width=8, in_channels=4, out_channels=6, padding=(0, 1), stride=2)
DEPTHWISE = Conv2d(height=9, width=8, in_channels=4, out_channels=4, groups=4, padding=1)
MATMUL = Matmul(m=9, k=16, n=10)


def test_it_has_every_workload_of_the_tables() -> None:
    assert all(map(has_tvm_expression, [*WORKLOADS.values(), *AWKWARD_WORKLOADS.values()]))


@pytest.mark.parametrize(
    "operator",
    [
        Softmax(rows=2, cols=3),
        dataclasses.replace(CONV, relu=True),
        dataclasses.replace(CONV, layout="NHWC"),
        dataclasses.replace(CONV, groups=2),
        dataclasses.replace(MATMUL, transpose_b=True),
        dataclasses.replace(MATMUL, batch=2),
    ],
    ids=str,
)
def test_it_says_what_it_does_not_have(operator: Operator) -> None:
    assert not has_tvm_expression(operator)


@pytest.mark.slow
@pytest.mark.parametrize("operator", [CONV, DEPTHWISE, MATMUL], ids=str)
def test_what_it_tunes_computes_the_operator(operator: Operator, tmp_path: Path) -> None:
    pytest.importorskip("tvm")
    target = detect_target()
    tune_with_tvm(operator, target, 4, tmp_path / "tvm", seed=0)
    ((elapsed_s, num_trials),) = json.loads((tmp_path / "tvm" / "clock.json").read_text())
    assert num_trials == 4
    tune_with_tvm(operator, target, 4, tmp_path / "tvm", seed=0)
    assert json.loads((tmp_path / "tvm" / "clock.json").read_text()) == [[elapsed_s, 4]]
    assert set(tvm_binders(operator, target, tmp_path / "tvm", elapsed_s / 2)) == {"tvm_trials"}
    binders = tvm_binders(operator, target, tmp_path / "tvm", elapsed_s)
    assert set(binders) == {"tvm_trials", "tvm_seconds"}
    operands = make_inputs(operator, np.random.default_rng(0))
    for bind in binders.values():
        np.testing.assert_allclose(
            bind(operands)().ravel(), operator.reference(operands).ravel(), rtol=1e-4, atol=1e-4
        )
