"""The references agree with PyTorch, which shares no code with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from codegen.ops import Conv2d, Elementwise, LayerNorm, Pool2d, make_inputs, make_operator
from codegen.ops.window import window_dims
from tests.strategies import convolutions, pools


def _operands(operator: Conv2d | Pool2d | LayerNorm | Elementwise) -> dict[str, NDArray[np.float64]]:
    inputs = make_inputs(operator, np.random.default_rng(0))
    shapes = operator.user_shapes()
    return {name: array.astype(np.float64).reshape(shapes[name]) for name, array in inputs.items()}


@settings(max_examples=60)
@given(operator=convolutions())
def test_convolution(operator: Conv2d) -> None:
    inputs = {name: torch.from_numpy(array) for name, array in _operands(operator).items()}
    is_nhwc = operator.layout == "NHWC"
    x = inputs["x"].permute(0, 3, 1, 2) if is_nhwc else inputs["x"]
    height, width = window_dims(
        "conv2d", size=(1, 1), kernel=1, stride=1, padding=operator.padding, dilation=1
    )
    x = torch.nn.functional.pad(x, (width.before, width.after, height.before, height.after))
    y = torch.nn.functional.conv2d(
        x,
        inputs["w"],
        inputs.get("bias"),
        stride=operator.stride,
        dilation=operator.dilation,
        groups=operator.groups,
    )
    y = y.permute(0, 2, 3, 1) if is_nhwc else y
    y = y + inputs["residual"] if operator.residual else y
    y = y.relu() if operator.relu else y
    actual = operator.reference(_operands(operator)).reshape(operator.user_shapes()["y"])
    np.testing.assert_allclose(actual, y.numpy(), rtol=1e-9, atol=1e-11)


@settings(max_examples=60)
@given(operator=pools().filter(lambda pool: isinstance(pool.padding, int)))
def test_pooling(operator: Pool2d) -> None:
    x = torch.from_numpy(_operands(operator)["x"])
    kernel = operator.kernel if isinstance(operator.kernel, tuple) else (operator.kernel,) * 2
    assert isinstance(operator.padding, int)
    if 2 * operator.padding > min(kernel):
        return  # torch refuses what ONNX allows
    window = {"kernel_size": kernel, "stride": operator.stride, "padding": operator.padding}
    if operator.kind == "max":
        y = torch.nn.functional.max_pool2d(x, **window)
    else:
        y = torch.nn.functional.avg_pool2d(x, **window, count_include_pad=operator.count_include_pad)
    np.testing.assert_allclose(operator.reference({"x": x.numpy()}), y.numpy(), rtol=1e-9, atol=1e-11)


def test_layer_norm() -> None:
    operator = LayerNorm(rows=3, cols=10, eps=1e-3)
    inputs = _operands(operator)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    y = torch.nn.functional.layer_norm(tensors["x"], (10,), tensors["scale"], tensors["bias"], eps=1e-3)
    np.testing.assert_allclose(operator.reference(inputs), y.numpy(), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", torch.nn.functional.relu),
        ("relu6", torch.nn.functional.relu6),
        ("sigmoid", torch.sigmoid),
        ("silu", torch.nn.functional.silu),
        ("gelu", torch.nn.functional.gelu),
        ("gelu_tanh", lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
        ("hard_sigmoid", torch.nn.functional.hardsigmoid),
        ("hard_swish", torch.nn.functional.hardswish),
    ],
)
def test_activation(name: str, function: object) -> None:
    operator = make_operator("elementwise", {"shape": [64], "ops": [name]})
    inputs = {"x": np.linspace(-8.0, 8.0, 64)}
    assert callable(function)
    expected = function(torch.from_numpy(inputs["x"])).numpy()
    np.testing.assert_allclose(operator.reference(inputs), expected, rtol=1e-7, atol=1e-12)
