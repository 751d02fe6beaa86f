from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.llvm.build import compile_program
from codegen.measure import peers
from codegen.measure.detect import detect_target, read_host_cpu
from codegen.measure.peers import Runner, kernel_binder, library_binders, time_peers
from codegen.ops import (
    Conv2d,
    Elementwise,
    GlobalAveragePool,
    LayerNorm,
    Matmul,
    Operator,
    Pool2d,
    Reduce,
    ScaleShift,
    Softmax,
    Transpose,
)
from codegen.ops.elementwise import BINARY_OPS, UNARY_OPS
from codegen.schedule import build_space
from tests.codegen.measure.changing_machine import Told

HAS_ONNXRUNTIME = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
HAS_AVX2 = all(read_host_cpu().features.get(name) for name in ("avx2", "fma"))
CONV = Conv2d(height=9, width=8, in_channels=4, out_channels=6, padding=1)
MATMUL = Matmul(m=9, k=16, n=10)
POOL = Pool2d(height=9, width=8, channels=3, batch=2, kernel=3, stride=2, padding=1)

OPERATORS = [
    CONV,
    dataclasses.replace(CONV, layout="NHWC", bias=True, relu=True, residual=True),
    dataclasses.replace(CONV, stride=2, dilation=(1, 2), groups=2, bias=True),
    dataclasses.replace(CONV, padding=(0, 1, 2, 1), relu=True),
    Conv2d(height=9, width=8, in_channels=6, out_channels=6, groups=6, kernel=(3, 1), padding=(1, 0)),
    MATMUL,
    dataclasses.replace(MATMUL, transpose_a=True, bias=True, relu=True, residual=True),
    dataclasses.replace(MATMUL, batch=3, transpose_b=True, bias=True),
    Softmax(rows=5, cols=17),
    LayerNorm(rows=5, cols=17),
    Elementwise(shape=(2, 3, 5), ops=("add", "relu", "mul", "gelu")),
    ScaleShift(batch=2, channels=3, size=7, relu=True),
    ScaleShift(channels=3, size=7),
    POOL,
    dataclasses.replace(POOL, kind="average"),
    dataclasses.replace(POOL, kind="average", count_include_pad=True),
    GlobalAveragePool(batch=2, channels=3, height=5, width=4),
    *(Reduce(rows=5, cols=17, kind=kind) for kind in ("sum", "max", "mean")),
    Transpose(rows=5, cols=17),
]


def test_libraries_and_a_kernel_of_ours_are_timed_and_agree() -> None:
    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        return lambda: operands["a"] @ operands["b"]

    results = time_peers(MATMUL, {"ours": bind}, num_threads=1, num_rounds=3, min_repeat_s=0.0002)
    libraries = {"torch", "torch_packed"} | ({"onnxruntime"} if HAS_ONNXRUNTIME else set())
    assert set(results) == {"ours"} | libraries
    for result in results.values():
        assert result.is_correct
        assert result.max_abs_error < 1e-4
        assert len(result.times_s) == 3
        assert 0 < result.summary.low_s <= result.summary.median_s


class Beside:
    """Notes its turns in ``order``; its times are their numbers, from 1."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.times_s: list[float] = []

    def take_turn(self) -> None:
        self.order.append("beside")
        self.times_s.append(float(self.order.count("beside")))


def test_what_runs_beside_has_a_turn_in_each_round_next_to_our_kernels() -> None:
    order: list[str] = []

    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        def run() -> NDArray[np.float32]:
            order.append("ours")
            return operands["a"] @ operands["b"]

        return run

    beside = [Beside(order)]
    time_peers(MATMUL, {"ours": bind}, num_threads=1, num_rounds=3, min_repeat_s=0.0001, beside=beside)
    assert order.count("beside") == 3
    first, second, third = (place for place, who in enumerate(order) if who == "beside")
    assert order[first + 1] == order[second - 1] == order[third + 1] == "ours"


def test_disturbed_rounds_are_dropped_for_all_and_unsteady_ones_counted() -> None:
    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        return lambda: operands["a"] @ operands["b"]

    watch, beside = Told(0.8, 1.5, 0.9, 0.8, 0.5, 0.6, 1.7, 1.6, 1.2, 1.4, 1.5, 1.3), Beside([])
    results = time_peers(
        MATMUL, {"ours": bind}, 1, num_rounds=3, min_repeat_s=0.0001, beside=[beside], watch=watch
    )
    assert watch.told == []
    assert (len(beside.order), beside.times_s) == (6, [2.0, 3.0, 5.0])
    assert {(len(each.times_s), each.num_unsteady) for each in results.values()} == {(3, 1)}
    assert {"ours", "torch"} <= set(results)


@pytest.mark.skipif(not HAS_AVX2, reason="no AVX2 with FMA here")
def test_a_compiled_kernel_takes_part() -> None:
    target = detect_target(1)
    space = build_space(CONV.program(), target)
    candidates = space.sample(1, np.random.default_rng(0))
    kernel = compile_program(space.lower(candidates, 0), target)
    results = time_peers(
        CONV, {"ours": kernel_binder(kernel)}, num_threads=1, num_rounds=1, min_repeat_s=0.0001
    )
    assert {"ours", "torch_nchw", "torch_nhwc"} <= set(results)
    assert all(result.is_correct for result in results.values())


def test_a_wrong_kernel_is_reported_however_fast() -> None:
    def bind(operands: Mapping[str, NDArray[np.float32]]) -> Runner:
        result = operands["a"] @ operands["b"] + np.float32(0.5)
        return lambda: result

    ours = time_peers(MATMUL, {"ours": bind}, num_threads=1, num_rounds=1, min_repeat_s=0.0001)["ours"]
    assert not ours.is_correct
    assert ours.max_abs_error == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_every_library_computes_the_same_operator(operator: Operator) -> None:
    _assert_libraries_agree(operator, {"torch", "torch_nchw"})


@pytest.mark.parametrize(
    "operator", [MATMUL, CONV, dataclasses.replace(CONV, layout="NHWC", bias=True)], ids=str
)
def test_torch_computes_it_in_bfloat16_too(operator: Operator) -> None:
    pytest.importorskip("torch")
    from codegen.measure.peers_torch import torch_bf16_binder

    binder = torch_bf16_binder(operator, num_threads=1)
    assert binder is not None
    operands = peers.make_inputs(operator, np.random.default_rng(0))
    reference = operator.reference(operands).ravel()
    error = np.abs(np.asarray(binder(operands)()).ravel() - reference).max()
    assert 1e-4 * np.abs(reference).max() < error < 0.05 * np.abs(reference).max()
    assert torch_bf16_binder(Softmax(rows=5, cols=17), num_threads=1) is None


def _assert_libraries_agree(operator: Operator, some_of: set[str]) -> None:
    operands = peers.make_inputs(operator, np.random.default_rng(0))
    reference = operator.reference(operands).ravel()
    binders = library_binders(operator, num_threads=1)
    assert some_of & set(binders)
    for name, bind in binders.items():
        run = bind(operands)
        run()
        np.testing.assert_allclose(np.asarray(run()).ravel(), reference, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == "onnxruntime" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert set(library_binders(MATMUL, num_threads=1)) == {"torch", "torch_packed"}


def test_weights_that_vary_are_not_packed() -> None:
    assert "torch_packed" not in library_binders(dataclasses.replace(MATMUL, batch=3), num_threads=1)


@pytest.mark.parametrize("op", [*UNARY_OPS, *BINARY_OPS])
def test_torch_has_every_operation_of_a_chain(op: str) -> None:
    _assert_libraries_agree(Elementwise(shape=(3, 37), ops=("abs", op)), {"torch"})


def test_an_operator_without_library_counterpart_has_no_peers() -> None:
    lopsided = Pool2d(height=5, width=5, channels=2, kernel=3, stride=1, padding=(2, 2, 0, 0))
    assert "torch" not in library_binders(lopsided, num_threads=1)
