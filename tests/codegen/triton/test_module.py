"""What generated files look like; nothing here needs Triton."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.gpu_target import GPU_TARGETS
from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Constant, Load
from codegen.ir.loops import Buffer, Loop, LoopKind, LoopProgram, Scope, Store
from codegen.ops import Conv2d, Matmul, Operator, Softmax
from codegen.precision import DotInput, Precision, Storage
from codegen.schedule import ScheduleError, build_space
from codegen.triton.candidate import candidate_source
from codegen.triton.module import emit_module
from tests.strategies import operators, seeds
from tests.targets import make_gpu_target

MATMUL = Matmul(m=40, k=512, n=24, bias=True, relu=True)
KNOBS = {"m_block": 16, "n_block": 32, "k_block": 32, "m_group": 2, "num_warps": 4, "num_stages": 3}
X, Y = Buffer("x", (8,), Scope.INPUT), Buffer("y", (8,), Scope.OUTPUT)
I = variable("i")  # noqa: E741


def source_of(operator: Operator, sketch: str, precision: Precision | None = None, **knobs: int) -> str:
    space = build_space(operator.program(), make_gpu_target(precision))
    return candidate_source(operator, space, {"sketch": sketch, "knobs": knobs}, "0.1.0")


def program(*body: Loop | Store, buffers: tuple[Buffer, ...] = (X, Y)) -> LoopProgram:
    return LoopProgram("made_by_hand", buffers, body)


@settings(max_examples=60)
@given(operator=operators(wide=True), seed=seeds, storage=st.sampled_from(["float32", "float16", "bfloat16"]))
def test_any_candidate_is_a_python_file_that_needs_torch_and_triton_alone(
    operator: Operator, seed: int, storage: Storage
) -> None:
    space = build_space(operator.program(), make_gpu_target(Precision(storage)))
    named = space.named(space.sample(1, np.random.default_rng(seed)), 0)
    tree = ast.parse(candidate_source(operator, space, named, "0.1.0"))
    imports = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert imports == ["os", "torch", "triton", "triton.language"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {operator.operator_name, f"{operator.operator_name}_out", "_checked", "_"} <= functions
    assert any(name.endswith("_kernel") for name in functions)


def test_the_header_says_what_the_file_is_and_where_it_comes_from() -> None:
    doc = ast.get_docstring(ast.parse(source_of(MATMUL, "dot", **KNOBS)))
    assert doc is not None
    for part in (
        "looprank 0.1.0",
        "matmul(m=40, k=512, n=24",
        MATMUL.program().hash,
        "imaginary_gpu (sm_80)",
        "m_block=16, n_block=32, k_block=32, m_group=2, num_warps=4, num_stages=3",
        "sum[r0<512] a[i0, r0] * b[r0, i1]",
    ):
        assert part in doc


def test_a_tile_of_a_matrix_product_is_one_dot_per_step() -> None:
    source = source_of(MATMUL, "dot", **KNOBS)
    assert source.count("tl.dot(") == 1
    assert "for k0 in range(16):" in source
    assert "num_warps=4" in source
    assert "num_stages=3" in source


def test_groups_of_tiles_come_before_columns() -> None:
    source = source_of(Matmul(m=64, k=32, n=96), "dot", **KNOBS)
    assert "m0 = pid % 2\n    n0 = pid // 2 % 3\n    m_group = pid // 6\n" in source


def test_a_divided_reduction_takes_two_kernels() -> None:
    source = source_of(MATMUL, "dot.split_k", **KNOBS, k_splits=4)
    assert source.count("@triton.jit") == 2
    assert "partial = torch.empty((4, 40, 24), dtype=torch.float32, device=a.device)" in source


@pytest.mark.parametrize(
    ("storage", "dot_input", "dot"),
    [
        ("float32", "ieee", 'tl.dot(a, b, acc, input_precision="ieee")'),
        ("float32", "tf32", 'tl.dot(a, b, acc, input_precision="tf32")'),
        ("float32", "bfloat16", "tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), acc)"),
        ("float16", "ieee", "tl.dot(a, b, acc)"),
    ],
)
def test_the_precision_decides_how_matrices_are_multiplied(
    storage: Storage, dot_input: DotInput, dot: str
) -> None:
    assert dot in source_of(MATMUL, "dot", Precision(storage, dot_input), **KNOBS)


def test_arithmetic_on_narrow_operands_is_wide() -> None:
    space = build_space(Softmax(rows=3, cols=9).program(), make_gpu_target(Precision("float16")))
    source = emit_module(space.lower(space.sample(1, np.random.default_rng(0)), 0), Precision("float16"))
    assert ".to(tl.float32)" in source


def test_small_matrices_are_multiplied_by_vector_arithmetic() -> None:
    operator = Conv2d(height=5, width=5, in_channels=4, out_channels=4, groups=4)
    space = build_space(operator.program(), make_gpu_target())
    assert "tl.dot" not in emit_module(space.lower(space.sample(1, np.random.default_rng(0)), 0))


def test_loops_of_any_size_are_padded_to_powers_of_two_under_a_mask() -> None:
    copy = program(
        Loop("i", 7, (Store("y", (I,), Load("x", (I,))),), LoopKind.VECTORIZED),
        buffers=(Buffer("x", (7,), Scope.INPUT), Buffer("y", (7,), Scope.OUTPUT)),
    )
    assert "tl.store(y_ptr + i, x, mask=i < 7)" in emit_module(copy)
    assert "BLOCK_I = 8" in emit_module(copy)


def test_two_kernels_of_a_name_are_two_operators() -> None:
    names = [
        line
        for k in (16, 32)
        for line in source_of(MATMUL, "dot", **{**KNOBS, "k_block": k}).splitlines()
        if "custom_op" in line
    ]
    assert len(set(names)) == 2
    assert all(line.startswith('@torch.library.custom_op("looprank::matmul_') for line in names)


TILE = Buffer("tile", (8,), Scope.REGISTER)
ILLEGAL: list[tuple[str, LoopProgram]] = [
    (
        "memory of one thread",
        program(Store("y", (Affine(),), Constant(0.0)), buffers=(X, Y, Buffer("own", (8,), Scope.LOCAL))),
    ),
    (
        "writes the same element of 'y'",
        program(Loop("i", 8, (Store("y", (Affine(),), Load("x", (I,))),), LoopKind.VECTORIZED)),
    ),
    (
        "outlive a kernel",
        program(
            Loop("i", 8, (Store("tile", (Affine(),), Load("x", (I,))),), LoopKind.PARALLEL),
            Loop("j", 8, (Store("y", (variable("j"),), Load("tile", (Affine(),))),)),
            buffers=(X, Y, TILE),
        ),
    ),
    (
        "vectorized loops alone",
        program(Loop("i", 8, (Store("tile", (I,), Load("x", (I,))),)), buffers=(X, Y, TILE)),
    ),
    (
        "more elements than 32-bit offsets reach",
        program(Store("y", (Affine(),), Constant(0.0)), buffers=(Buffer("x", (2**31,), Scope.INPUT), Y)),
    ),
]


@pytest.mark.parametrize(("reason", "loops"), ILLEGAL)
def test_what_has_no_form_as_kernels_is_refused(reason: str, loops: LoopProgram) -> None:
    with pytest.raises(ScheduleError, match=reason):
        emit_module(loops)


def test_a_program_without_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="has no input"):
        emit_module(program(Store("y", (Affine(),), Constant(0.0)), buffers=(Y,)))


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("storage must be one of float32, float16, bfloat16, got 'int8'", ("int8",)),
        ("dot_input must be one of .*, got 'fp8'", ("float32", "fp8")),
        ("dot_input is for float32 storage: float16 operands", ("float16", "tf32")),
    ],
)
def test_an_impossible_precision_is_refused(message: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=message):
        Precision(*arguments)  # type: ignore[arg-type]


def test_targets_differ_by_what_they_compute_in() -> None:
    prints = {target.fingerprint for target in GPU_TARGETS.values()}
    prints |= {make_gpu_target(Precision("float16")).fingerprint, make_gpu_target().fingerprint}
    assert len(prints) == 4  # the imaginary GPU is an sm_80 by another name
