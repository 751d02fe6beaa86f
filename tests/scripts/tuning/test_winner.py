"""A winner, saved and loaded, is called with the arrays that its user has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codegen import load
from codegen.llvm.build import compile_program
from codegen.llvm.kernel import Kernel
from codegen.measure.timing import summarise
from codegen.ops import Conv2d, Elementwise, Matmul, Operator, Pool2d, Reduce, tolerance
from codegen.schedule import build_space
from scripts.tuning.winner import Winner, save_winner
from tests.codegen.llvm.loop_building import runnable_target

CONV = Conv2d(
    height=9, width=8, in_channels=4, out_channels=6, padding=1, bias=True, relu=True, residual=True
)
OPERATORS: dict[str, Operator] = {
    "conv2d": CONV,
    "conv2d_nhwc": replace(CONV, layout="NHWC"),
    "conv2d_grouped": replace(CONV, groups=2),
    "conv2d_batch": replace(CONV, batch=2, stride=2),
    "conv2d_1x1": replace(CONV, kernel=1, padding=0),
    "conv2d_1x1_nhwc": replace(CONV, kernel=1, padding=0, layout="NHWC", batch=3),
    "conv2d_row": replace(CONV, height=1, kernel=(1, 3), padding=(0, 1)),
    "depthwise": replace(CONV, in_channels=6, groups=6),
    "depthwise_nhwc": replace(CONV, in_channels=6, groups=6, layout="NHWC"),
    "matmul_batch": Matmul(m=5, k=7, n=9, batch=3, transpose_b=True, bias=True, residual=True),
    "matmul_row": Matmul(m=1, k=7, n=9, relu=True),
    "pool2d": Pool2d(kind="max", height=7, width=6, channels=3, kernel=3, stride=2, padding=1),
    "elementwise": Elementwise(shape=(2, 3, 5), ops=("add", "relu")),
    "reduce": Reduce(kind="sum", rows=4, cols=9),
}


def saved(operator: Operator, folder: Path) -> Kernel:
    space = build_space(operator.program(), runnable_target(8))
    candidates = space.sample(1, np.random.default_rng(0))
    kernel = compile_program(space.lower(candidates, 0), space.target)
    save_winner(Winner(space.named(candidates, 0), kernel, summarise([1.0]), 1), operator, folder)
    return load(folder)


def users_arrays(operator: Operator) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes = {name: shape for name, shape in operator.user_shapes().items() if name != "y"}
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_loaded_kernel_takes_and_gives_the_users_shapes(name: str, tmp_path: Path) -> None:
    operator = OPERATORS[name]
    kernel = saved(operator, tmp_path / "kernel")
    arrays = users_arrays(operator)
    y_shape = operator.user_shapes()["y"]
    expected = operator.reference(arrays).reshape(y_shape)
    rtol, atol = tolerance(operator.program())
    order = [buffer.name for buffer in kernel.bind().free]
    for convert in (np.asarray, torch.from_numpy):
        given = {key: convert(array) for key, array in arrays.items()}
        constants = {key: value for key, value in given.items() if key in ("w", "b", "bias")}
        run = kernel.bind(**constants)
        free = [given[key] for key in order if key not in constants]
        out = convert(np.full(y_shape, np.nan, np.float32))
        results = [kernel(**given), kernel(*(given[key] for key in order)), run(*free), run(*free, out=out)]
        assert results[-1] is out
        prepared_out = convert(np.full(y_shape, np.nan, np.float32))
        run.prepare(*free, out=prepared_out)()
        for result in (*results, prepared_out):
            assert type(result) is type(out)
            assert tuple(result.shape) == y_shape
            np.testing.assert_allclose(np.asarray(result), expected, rtol, atol)


def test_a_saved_kernel_says_how_exact_it_is(tmp_path: Path) -> None:
    operator = replace(CONV, in_channels=8, out_channels=8)
    space = build_space(operator.program(), runnable_target(8))
    everything = space.sample(200, np.random.default_rng(0))
    bounds = {}
    for number, rows in space.by_sketch(everything):
        candidate = space.named(everything, rows[0])
        kernel = compile_program(space.lower_named(candidate), space.target)
        folder = tmp_path / str(number)
        save_winner(Winner(candidate, kernel, summarise([1.0]), 1, space.errors(candidate)), operator, folder)
        description = json.loads((folder / "kernel.json").read_text())
        bounds[str(candidate["sketch"]).split(".")[0]] = description["metadata"]["tolerance"]
    assert bounds["winograd4"]["atol"] > bounds["winograd2"]["atol"] > bounds["vector_oc"]["atol"]
    assert bounds["vector_oc"] == dict(zip(("rtol", "atol"), tolerance(operator.program()), strict=True))


def test_operands_are_named_as_users_know_them(tmp_path: Path) -> None:
    kernel = saved(CONV, tmp_path / "conv2d")
    assert [operand.name for operand in kernel.bind().free] == ["x", "w", "bias", "residual"]
    kernel = saved(OPERATORS["matmul_batch"], tmp_path / "matmul")
    assert [operand.name for operand in kernel.bind().free] == ["a", "b", "bias", "residual"]


def test_the_layout_of_another_order_is_never_read_silently(tmp_path: Path) -> None:
    kernel = saved(replace(CONV, residual=False, bias=False), tmp_path / "kernel")
    arrays = {name: torch.from_numpy(a) for name, a in users_arrays(CONV).items() if name in ("x", "w")}
    shape = r"x must have shape \(1, 4, 9, 8\) or \(4, 9, 8\), got \(1, 9, 8, 4\)"
    with pytest.raises(ValueError, match=shape):
        kernel(arrays["x"].permute(0, 2, 3, 1).contiguous(), arrays["w"])
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        kernel(arrays["x"].to(memory_format=torch.channels_last), arrays["w"])
    with pytest.raises(ValueError, match=r"y must have shape \(1, 6, 9, 8\) or \(6, 9, 8\)"):
        kernel.bind(**arrays)(out=np.empty((1, 9, 8, 6), np.float32))
