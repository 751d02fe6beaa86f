"""Products in bfloat16: where they are offered, what they compute, and how exact they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.ir.interpret import interpret_loops
from codegen.ir.text import loop_text
from codegen.llvm.artefact import missing_features
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module
from codegen.measure.detect import HostCpu, detect_target
from codegen.ops import Conv2d, Matmul, Operator, Pool2d, make_inputs, small_integer_inputs, tolerance
from codegen.precision import rounded
from codegen.schedule import Candidates, Space, build_space
from codegen.schedule.rules.bf16_pairs import bf16_error
from codegen.target import BF16_FEATURE, LANE_FEATURES, Target
from tests.codegen.llvm.loop_building import cpu_target

OPERATORS: dict[str, Operator] = {
    "matmul": Matmul(m=19, k=130, n=37, bias=True, relu=True),
    "odd steps": Matmul(m=7, k=33, n=21, transpose_a=True, transpose_b=True),
    "batched": Matmul(m=9, k=6, n=20, batch=3),
    "3 x 3": Conv2d(height=9, width=13, in_channels=7, out_channels=35, padding=1, bias=True),
    "NHWC": Conv2d(height=7, width=10, in_channels=9, out_channels=17, padding=1, layout="NHWC"),
    "strided": Conv2d(height=11, width=23, in_channels=64, out_channels=19, stride=2, padding=1),
    "1 x 1": Conv2d(height=9, width=18, in_channels=33, out_channels=18, kernel=1),
}


def pair_target(num_threads: int = 1, *, is_on: bool = True) -> Target:
    """A CPU with the instruction, whatever the machine at hand has."""
    plain = cpu_target(16, num_threads)
    return replace(plain, llvm_features=f"{plain.llvm_features},+{BF16_FEATURE}", bf16_dot=is_on)


def runnable_pair_target(num_threads: int = 1) -> Target:
    target = pair_target(num_threads)
    if missing_features(target):
        pytest.skip("this CPU cannot multiply pairs of bfloat16")
    return target


def pair_sketches(space: Space) -> list[int]:
    return [number for number, sketch in enumerate(space.sketches) if sketch.name.endswith(".bf16")]


def some_candidates(space: Space, num: int, rng: np.random.Generator) -> Candidates:
    """Of every sketch of products in bfloat16, ``num``."""
    drawn = space.sample(100 * num * len(space.sketches), rng)
    rows = [np.flatnonzero(drawn.sketches == number)[:num] for number in pair_sketches(space)]
    return drawn[np.concatenate(rows)]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_they_are_offered_only_where_the_target_asks_for_them(operator: Operator) -> None:
    exact, both = (build_space(operator.program(), pair_target(is_on=is_on)) for is_on in (False, True))
    assert not pair_sketches(exact)
    assert pair_sketches(both)
    names = [sketch.name for sketch in both.sketches if not sketch.name.endswith(".bf16")]
    assert names == [sketch.name for sketch in exact.sketches]


@pytest.mark.parametrize(
    "operator",
    [
        Pool2d(channels=3, height=9, width=9, kernel=3),
        Matmul(m=8, k=1, n=8),
        Conv2d(height=8, width=8, in_channels=4, out_channels=4, groups=4, padding=1),
    ],
)
def test_what_sums_no_products_of_packed_operands_has_none(operator: Operator) -> None:
    assert not pair_sketches(build_space(operator.program(), pair_target()))


def test_records_with_and_without_them_never_mix() -> None:
    assert pair_target().fingerprint != pair_target(is_on=False).fingerprint


def test_the_fingerprint_of_other_targets_is_what_it_was() -> None:
    assert cpu_target(16).fingerprint == "e97e8c8888d1eeb9"


@pytest.mark.parametrize(
    ("features", "lanes"), [("+avx512f", 16), (f"+{BF16_FEATURE}", 8), (f"-{BF16_FEATURE}", 16)]
)
def test_a_target_without_the_instruction_refuses_them(features: str, lanes: int) -> None:
    with pytest.raises(ValueError, match=r"bf16_dot needs 512-bit vectors and avx512bf16, which .* not have"):
        replace(cpu_target(lanes), llvm_features=features, bf16_dot=True)


def test_detection_takes_the_wish_over_or_refuses_it() -> None:
    features = dict.fromkeys((*LANE_FEATURES[8], *LANE_FEATURES[16]), True)
    with pytest.raises(ValueError, match="bf16_dot needs"):
        detect_target(1, bf16_dot=True, host=HostCpu("old", "skylake-avx512", features))
    able = HostCpu("new", "znver4", {**features, BF16_FEATURE: True})
    assert detect_target(1, bf16_dot=True, host=able).bf16_dot
    with pytest.raises(ValueError, match="bf16_dot needs"):
        detect_target(1, 256, bf16_dot=True, host=able)


@pytest.mark.parametrize(
    "operator",
    [
        Matmul(m=3, k=33, n=17, bias=True),
        Conv2d(height=4, width=5, in_channels=5, out_channels=6, padding=1),
        Conv2d(height=4, width=5, in_channels=6, out_channels=5, kernel=1, layout="NHWC"),
    ],
)
def test_the_interpreter_sums_products_of_rounded_operands(operator: Operator) -> None:
    space = build_space(operator.program(), pair_target())
    inputs = make_inputs(operator, np.random.default_rng(0))
    short = {n: rounded(array, "bfloat16") if n in "abxw" else array for n, array in inputs.items()}
    candidates = some_candidates(space, 1, np.random.default_rng(1))
    for row in range(len(candidates)):
        actual = interpret_loops(space.lower(candidates, row), inputs)
        expected = operator.reference(short).reshape(actual.shape)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_kernels_are_exact_on_numbers_that_bfloat16_holds(operator: Operator, num_threads: int) -> None:
    space = build_space(operator.program(), runnable_pair_target(num_threads))
    inputs = small_integer_inputs(operator, np.random.default_rng(0))
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = some_candidates(space, 3, np.random.default_rng(num_threads))
    for row in range(len(candidates)):
        actual = compile_program(space.lower(candidates, row), space.target)(**views)
        expected = operator.reference(inputs).reshape(actual.shape)
        np.testing.assert_array_equal(actual, expected, err_msg=str(space.named(candidates, row)))


@given(
    m=st.integers(1, 20),
    k=st.integers(2, 90),
    n=st.integers(1, 40),
    transposes=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_product_is_right(m: int, k: int, n: int, transposes: tuple[bool, bool], seed: int) -> None:
    operator = Matmul(m=m, k=k, n=n, transpose_a=transposes[0], transpose_b=transposes[1])
    space = build_space(operator.program(), runnable_pair_target())
    rng = np.random.default_rng(seed)
    inputs = small_integer_inputs(operator, rng)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    numbers = np.array(pair_sketches(space))
    drawn = space.sample(200, rng)
    drawn = drawn[np.isin(drawn.sketches, numbers)][:1]
    for row in range(len(drawn)):
        actual = compile_program(space.lower(drawn, row), space.target)(**views)
        np.testing.assert_array_equal(actual, operator.reference(inputs).reshape(actual.shape))


@pytest.mark.parametrize("k", [64, 512, 4096])
def test_the_error_is_within_its_bound_and_beyond_that_of_float32(k: int) -> None:
    operator = Matmul(m=64, k=k, n=64)
    space = build_space(operator.program(), runnable_pair_target())
    inputs = make_inputs(operator, np.random.default_rng(1))
    candidates = some_candidates(space, 1, np.random.default_rng(0))
    actual = compile_program(space.lower(candidates, 0), space.target)(**inputs)
    worst = np.abs(actual - operator.reference(inputs)).max()
    _, bound = tolerance(operator.program(), errors=space.errors(space.named(candidates, 0)))
    assert bound / 25 < worst < bound / 2
    assert worst > 10 * tolerance(operator.program())[1]


def test_the_bound_grows_with_the_length_of_the_sum_and_carries_on_through_what_follows() -> None:
    assert bf16_error(1) == pytest.approx(2**-7, rel=1e-3)
    assert bf16_error(400) == pytest.approx(20 * bf16_error(1), rel=1e-3)
    bounds = []
    for operator in (Matmul(m=8, k=64, n=16), Matmul(m=8, k=64, n=16, bias=True, relu=True)):
        space = build_space(operator.program(), pair_target())
        errors = space.sketches[pair_sketches(space)[0]].errors
        bounds.append(tolerance(operator.program(), errors=errors)[1])
    assert 0 < bounds[0] <= bounds[1]


def test_code_multiplies_pairs_in_the_inner_loop() -> None:
    space = build_space(Matmul(m=32, k=64, n=64).program(), pair_target())
    candidates = some_candidates(space, 1, np.random.default_rng(0))
    loops = space.lower(candidates, 0)
    assert "acc[" in loop_text(loops)
    assert " += dot_pairs(" in loop_text(loops)
    assert "@llvm.x86.avx512bf16.dpbf16ps.512(" in emit_module(loops, space.target).text
