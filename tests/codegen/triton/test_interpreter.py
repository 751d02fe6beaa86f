"""Generated kernels in Triton's interpreter, against NumPy, and their functions for torch tensors."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

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
from codegen.precision import Precision, rounded
from codegen.schedule import build_space
from codegen.triton.candidate import candidate_source
from codegen.triton.module import emit_module
from codegen.triton.run import import_source, interpret_triton
from tests.strategies import operators, seeds
from tests.targets import make_gpu_target

pytest.importorskip("triton", reason="triton is not installed")

PRECISIONS = [Precision(), Precision("float32", "tf32"), Precision("float32", "float16")]
PRECISIONS += [Precision("float32", "bfloat16"), Precision("float16"), Precision("bfloat16")]
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
    Conv2d(height=3, width=5, in_channels=259, out_channels=17, kernel=1, residual=True),
    Conv2d(height=5, width=6, in_channels=20, out_channels=17, padding=1, stride=2, batch=2, relu=True),
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


def check(operator: Operator, precision: Precision, num: int, rng: np.random.Generator) -> set[str]:
    """Sampled schedules compute the operator's reference as users call them; the sketches among them.

    There are ``num`` of them, or one of each sketch where ``num`` is 0.
    """
    import torch

    space = build_space(operator.program(), make_gpu_target(precision))
    inputs = {name: rounded(array, precision.storage) for name, array in make_inputs(operator, rng).items()}
    dtype = getattr(torch, precision.storage)
    shapes, names = operator.user_shapes(), [tensor.name for tensor in space.program.inputs]
    tensors = [scattered(inputs[name].reshape(shapes[name]), dtype, rng) for name in names]
    expected = operator.reference(inputs)
    rtol, atol = tolerance(operator.program(), precision)
    drawn = space.sample(num or 60, rng)
    rows = range(num) if num else [int(rows[0]) for _, rows in space.by_sketch(drawn)]
    for named in (space.named(drawn, row) for row in rows):
        with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
            module = import_source(candidate_source(operator, space, named, "0.1.0"), folder)
            actual = getattr(module, operator.operator_name)(*tensors).to(torch.float32).numpy()
        np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol, atol, err_msg=str(named))
    return {space.sketches[int(drawn.sketches[row])].name for row in rows}


def scattered(array: np.ndarray, dtype: Any, rng: np.random.Generator) -> Any:
    """A tensor of these elements, with gaps between them in memory and the dimensions in any order."""
    import torch

    order, steps = rng.permutation(array.ndim), rng.integers(1, 4, array.ndim)
    room = torch.full([array.shape[d] * steps[d] for d in order], torch.nan, dtype=dtype)
    view = room[tuple(slice(None, None, int(steps[d])) for d in order)]
    tensor = view.permute(*np.argsort(order).tolist())
    return tensor.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))


@pytest.mark.parametrize(
    "precision",
    [pytest.param(p, marks=[pytest.mark.slow] * (p.dot_input != "ieee")) for p in PRECISIONS],
    ids=lambda p: f"{p.storage}-{p.dot_input}",
)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.operator_name)
def test_every_sketch_of_an_operator_is_right_in_every_precision(
    operator: Operator, precision: Precision
) -> None:
    found = check(operator, precision, 0, np.random.default_rng(0))
    space = build_space(operator.program(), make_gpu_target(precision))
    assert found == {sketch.name for sketch in space.sketches}


@settings(max_examples=60)
@given(operator=operators(wide=True), seed=seeds, precision=st.sampled_from(PRECISIONS))
def test_any_schedule_of_any_operator_is_right(operator: Operator, seed: int, precision: Precision) -> None:
    check(operator, precision, 1, np.random.default_rng(seed))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: f"{p.storage}-{p.dot_input}")
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.operator_name)
def test_a_sample_of_every_space_is_right(operator: Operator, precision: Precision) -> None:
    check(operator, precision, 10, np.random.default_rng(1))


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
