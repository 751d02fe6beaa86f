"""Generated kernels in Triton's interpreter, against NumPy, and their functions for torch tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.affine import variable
from codegen.ir.expression import Binary, Load, Program, Stage, Tensor
from codegen.ir.interpret import interpret_program
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
    make_inputs,
    tolerance,
)
from codegen.ops.elementwise import UNARY_OPS
from codegen.precision import Precision, Storage, rounded
from codegen.schedule import build_space
from codegen.triton.candidate import candidate_source
from codegen.triton.module import emit_module
from codegen.triton.run import import_source, interpret_triton
from tests.strategies import operators, seeds
from tests.targets import make_gpu_target

pytest.importorskip("triton", reason="triton is not installed")

PRECISIONS = [Precision(), Precision("float32", "tf32"), Precision("float32", "float16")]
PRECISIONS += [Precision("float16"), Precision("bfloat16")]
OPERATORS: list[Operator] = [
    Matmul(m=33, k=50, n=20, bias=True, relu=True, residual=True),
    Matmul(m=17, k=300, n=18, transpose_a=True),
    Matmul(m=20, k=33, n=17, batch=3, transpose_b=True, relu=True),
    Matmul(m=1, k=70, n=33),
    Conv2d(height=9, width=7, in_channels=5, out_channels=18, padding=1, bias=True, relu=True),
    Conv2d(height=9, width=8, in_channels=6, out_channels=4, groups=2, stride=2, dilation=2, padding=(1, 2)),
    Conv2d(height=8, width=9, in_channels=3, out_channels=5, kernel=5, padding=2, layout="NHWC", batch=2),
    Conv2d(height=6, width=7, in_channels=5, out_channels=5, groups=5, padding=1, stride=(1, 2), bias=True),
    Conv2d(height=1, width=9, in_channels=4, out_channels=4, groups=4, padding=1),
    Pool2d(height=9, width=7, channels=3, kernel=3, padding=1),
    Pool2d(height=9, width=7, channels=3, kernel=3, padding=1, kind="average"),
    GlobalAveragePool(channels=5, height=17, width=17),
    Softmax(rows=7, cols=45),
    LayerNorm(rows=7, cols=45),
    Reduce(rows=5, cols=300, kind="mean"),
    Reduce(rows=5, cols=45, kind="max"),
    ScaleShift(channels=5, size=9, batch=2, relu=True),
    Elementwise(shape=(5, 13), ops=("gelu", "add", "silu")),
    Elementwise(shape=(70,), ops=("gelu_tanh", "mul", "hard_swish", "tanh")),
    Transpose(rows=19, cols=33),
]


def check(operator: Operator, precision: Precision, rng: np.random.Generator) -> None:
    """One sampled schedule of an operator computes its reference."""
    space = build_space(operator.program(), make_gpu_target(precision))
    drawn = make_inputs(operator, rng)
    inputs = {name: rounded(array, precision.storage) for name, array in drawn.items()}
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(1, rng)
    actual = interpret_triton(space.lower(candidates, 0), views, precision)
    expected = operator.reference(inputs).reshape(actual.shape)
    rtol, atol = tolerance(operator.program(), precision)
    np.testing.assert_allclose(actual, expected, rtol, atol, err_msg=str(space.named(candidates, 0)))


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: f"{p.storage}-{p.dot_input}")
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.operator_name)
def test_an_operator_is_right_in_every_precision(operator: Operator, precision: Precision) -> None:
    check(operator, precision, np.random.default_rng(0))


@settings(max_examples=60)
@given(operator=operators(), seed=seeds, storage=st.sampled_from(["float32", "float16", "bfloat16"]))
def test_any_schedule_of_any_operator_is_right(operator: Operator, seed: int, storage: Storage) -> None:
    check(operator, Precision(storage), np.random.default_rng(seed))


def test_an_epilogue_may_be_any_chain() -> None:
    size, index = (20, 24), (variable("m"), variable("n"))
    product = Matmul(m=20, k=33, n=24).program().stages[0]
    main = replace(product, output=replace(product.output, name="product"))
    gelu = UNARY_OPS["gelu"][0](Binary("add", Load("product", index), Load("bias", index[1:])))
    program = Program(
        "linear_gelu",
        (Tensor("a", (20, 33)), Tensor("b", (33, 24)), Tensor("bias", (24,))),
        (main, Stage(Tensor("y", size), main.axes, gelu)),
    )
    rng = np.random.default_rng(0)
    inputs = make_inputs(program, rng)
    space = build_space(program, make_gpu_target())
    source = emit_module(space.lower(space.sample(1, rng), 0))
    assert source.count("@triton.jit") == 1
    actual = interpret_triton(space.lower(space.sample(1, rng), 0), inputs)
    np.testing.assert_allclose(actual, interpret_program(program, inputs), *tolerance(program))


def module_of(operator: Operator, folder: str) -> ModuleType:
    space = build_space(operator.program(), make_gpu_target())
    named = space.named(space.sample(1, np.random.default_rng(1)), 0)
    return import_source(candidate_source(operator, space, named, "0.1.0"), folder)


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    operator = Conv2d(height=6, width=5, in_channels=4, out_channels=6, groups=2, padding=1, bias=True)
    return module_of(operator, str(tmp_path_factory.mktemp("kernels")))


def operands() -> tuple:  # type: ignore[type-arg]
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 4, 6, 5), (6, 2, 3, 3), (6,)]
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def test_a_launcher_takes_and_gives_tensors_as_pytorch_does(convolution: ModuleType) -> None:
    import torch

    x, w, bias = operands()
    expected = torch.nn.functional.conv2d(x, w, bias, padding=1, groups=2)
    torch.testing.assert_close(convolution.conv2d(x, w, bias), expected)
    torch.testing.assert_close(convolution.conv2d(x=x, w=w, bias=bias), expected)
    out = torch.empty_like(expected)
    convolution.conv2d_out(x, w, bias, out)
    torch.testing.assert_close(out, expected)


def test_weights_are_packed_once_by_those_who_keep_them(tmp_path: Path) -> None:
    import torch

    operator = Conv2d(height=6, width=5, in_channels=4, out_channels=6, groups=2, padding=1, bias=True)
    space = build_space(operator.program(), make_gpu_target())
    knobs = {"oh_block": 8, "ow_block": 8, "oc_block": 16, "ic_block": 2, "kh_block": 2, "kw_block": 4}
    knobs |= {"oh_group": 1, "num_warps": 4, "num_stages": 2}
    candidate = {"sketch": "dot.packed_w", "knobs": knobs}
    module = import_source(candidate_source(operator, space, candidate, "0.1.0"), tmp_path)
    x, w, bias = operands()
    expected = torch.nn.functional.conv2d(x, w, bias, padding=1, groups=2)
    torch.testing.assert_close(module.conv2d(x, w, bias), expected)
    out, prepared = torch.empty_like(expected), module.conv2d_prepare(w)
    module.conv2d_out(x, torch.zeros_like(w), bias, out, prepared=prepared)
    torch.testing.assert_close(out, expected)


def test_inputs_that_are_not_contiguous_are_copied_first(convolution: ModuleType) -> None:
    import torch

    x, w, bias = operands()
    strided = x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert not strided.is_contiguous()
    torch.testing.assert_close(convolution.conv2d(strided, w, bias), convolution.conv2d(x, w, bias))


def test_a_tensor_of_another_kind_is_refused(convolution: ModuleType) -> None:
    import torch

    x, w, bias = operands()
    with pytest.raises(ValueError, match=r"w must have shape \(6, 2, 3, 3\), got \(6, 2, 9\)"):
        convolution.conv2d(x, w.reshape(6, 2, 9), bias)
    with pytest.raises(ValueError, match=r"x must be torch.float32, got torch.float64"):
        convolution.conv2d(x.double(), w, bias)
    with pytest.raises(ValueError, match="out must be contiguous"):
        convolution.conv2d_out(x, w, bias, torch.empty(1, 6, 5, 6).transpose(2, 3))
    with pytest.raises(ValueError, match="bias must be on cpu like the other tensors, got meta"):
        convolution.conv2d_out(x, w, bias.to("meta"), torch.empty(1, 6, 6, 5))


def test_without_a_gpu_and_an_interpreter_a_launcher_says_so(
    convolution: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "INTERPRETED", False)
    with pytest.raises(ValueError, match="x must be on a GPU, got cpu"):
        convolution.conv2d(*operands())


def test_pytorch_knows_the_operator(convolution: ModuleType) -> None:
    import torch

    torch.library.opcheck(convolution.conv2d, operands())

    @torch.compile(backend="eager", fullgraph=True)
    def twice(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return convolution.conv2d(x, w, bias) * 2.0  # type: ignore[no-any-return]

    torch.testing.assert_close(twice(*operands()), 2.0 * convolution.conv2d(*operands()))
