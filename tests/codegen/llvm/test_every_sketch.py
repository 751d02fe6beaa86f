"""Every sketch of every kind of operator computes its reference, in AVX2 and AVX-512 code alike."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.llvm.build import compile_program
from codegen.ops import (
    Conv2d,
    Elementwise,
    LayerNorm,
    Matmul,
    Operator,
    Pool2d,
    Reduce,
    Softmax,
    Transpose,
    small_integer_inputs,
    tolerance,
)
from codegen.schedule import Candidates, Space, build_space
from tests.codegen.llvm.loop_building import cpu_target, runnable_target

OPERATORS: dict[str, Operator] = {
    "matmul": Matmul(m=19, k=300, n=37, bias=True, relu=True),
    "transposed matmul": Matmul(m=9, k=33, n=21, batch=2, transpose_a=True, transpose_b=True),
    "vector times matrix": Matmul(m=1, k=600, n=70),
    "3 x 3": Conv2d(height=9, width=13, in_channels=18, out_channels=35, padding=1, bias=True),
    "3 x 3 NHWC": Conv2d(height=7, width=10, in_channels=9, out_channels=17, padding=1, layout="NHWC"),
    "strided": Conv2d(height=11, width=23, in_channels=5, out_channels=19, stride=2, padding=1, relu=True),
    "1 x 1 strided": Conv2d(height=9, width=18, in_channels=33, out_channels=18, kernel=1, stride=2),
    "depthwise": Conv2d(height=9, width=35, in_channels=3, out_channels=3, groups=3, padding=1),
    "depthwise strided": Conv2d(
        height=9, width=35, in_channels=18, out_channels=18, groups=18, stride=2, padding=1
    ),
    "depthwise NHWC": Conv2d(
        height=6, width=9, in_channels=21, out_channels=21, groups=21, padding=1, layout="NHWC"
    ),
    "pooling": Pool2d(channels=3, height=11, width=37, kernel=3, stride=2, padding=1),
    "softmax": Softmax(rows=5, cols=83),
    "layer norm": LayerNorm(rows=5, cols=83),
    "transpose": Transpose(rows=37, cols=53),
    "chain": Elementwise(shape=(7, 61), ops=("gelu", "add")),
    "reduction": Reduce(rows=5, cols=83, kind="max"),
}


def one_of_each_sketch(space: Space, rng: np.random.Generator) -> Candidates:
    drawn = space.sample(64 * len(space.sketches), rng)
    rows = np.array([rows[0] for _, rows in space.by_sketch(drawn)])
    assert len(rows) == len(space.sketches)
    return drawn[rows]


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("name", list(OPERATORS))
def test_every_sketch_computes_its_operator(name: str, lanes: int) -> None:
    operator, target = OPERATORS[name], runnable_target(lanes, num_threads=2)
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(0)
    inputs = small_integer_inputs(operator, rng)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    expected = operator.reference(inputs)
    candidates = one_of_each_sketch(space, rng)
    for row in range(len(candidates)):
        named = space.named(candidates, row)
        actual = compile_program(space.lower(candidates, row), target)(**views)
        rtol, atol = tolerance(operator.program(), errors=space.errors(named))
        np.testing.assert_allclose(
            actual, expected.reshape(actual.shape), rtol, 10 * atol, err_msg=str(named)
        )


def test_these_operators_have_sketches_of_every_family() -> None:
    spaces = [build_space(operator.program(), cpu_target(8)) for operator in OPERATORS.values()]
    families = {sketch.name.split(".")[0] for space in spaces for sketch in space.sketches}
    assert families >= {
        "fused",
        "rows",
        "separated",
        "tiles",
        "vector_n",
        "vector_oc",
        "vector_ow",
        "winograd2",
        "winograd4",
    }
