"""Operators: the expression, the reference and the parameters of each agree."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.interpret import interpret_program
from codegen.ops import (
    AWKWARD_WORKLOADS,
    LARGE_MEMORY_WORKLOADS,
    MEMORY_WORKLOADS,
    OPERATORS,
    ROUND_NEIGHBOURS,
    SMALL_MEMORY_WORKLOADS,
    WORKLOADS,
    Conv2d,
    Matmul,
    Operator,
    Pool2d,
    Softmax,
    make_inputs,
    make_operator,
    operator_parameters,
    small_integer_inputs,
    tolerance,
)
from tests.strategies import convolutions, matmuls, operators

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=250)
@given(operator=operators(), seed=seeds)
def test_the_expression_computes_what_the_reference_says(operator: Operator, seed: int) -> None:
    inputs = make_inputs(operator, np.random.default_rng(seed))
    expected = operator.reference(inputs)
    assert expected.shape == operator.program().output.shape
    np.testing.assert_allclose(interpret_program(operator.program(), inputs), expected, rtol=1e-9, atol=1e-11)


@given(operator=st.one_of(matmuls(), convolutions()), seed=seeds)
def test_small_integers_make_contractions_exact_in_float32(operator: Operator, seed: int) -> None:
    inputs = small_integer_inputs(operator, np.random.default_rng(seed))
    exact = operator.reference(inputs)
    np.testing.assert_array_equal(exact, np.round(exact))
    np.testing.assert_array_equal(exact, interpret_program(operator.program(), inputs))


@given(operator=operators(), seed=seeds)
def test_the_reference_takes_the_users_shapes_too(operator: Operator, seed: int) -> None:
    inputs = make_inputs(operator, np.random.default_rng(seed))
    shapes = operator.user_shapes()
    assert set(shapes) == {*inputs, "y"}
    reshaped = {name: array.reshape(shapes[name]) for name, array in inputs.items()}
    np.testing.assert_array_equal(operator.reference(reshaped), operator.reference(inputs))
    assert math.prod(shapes["y"]) == math.prod(operator.program().output.shape)


@given(operator=operators())
def test_parameters_survive_json_and_give_the_same_operator_back(operator: Operator) -> None:
    parameters = json.loads(json.dumps(operator_parameters(operator)))
    assert make_operator(operator.operator_name, parameters) == operator


def test_every_operator_is_known_by_its_own_name() -> None:
    assert {name: cls.operator_name for name, cls in OPERATORS.items()} == {name: name for name in OPERATORS}


def test_flops_count_the_epilogue_and_the_padding() -> None:
    assert Matmul(m=2, k=3, n=4).flops == 2 * 24
    assert Matmul(m=2, k=3, n=4, bias=True, relu=True, residual=True).flops == 2 * 24 + 3 * 8
    padded = Conv2d(height=2, width=2, in_channels=1, out_channels=1, kernel=3, padding=1)
    assert padded.flops == 2 * 4 * 9


def test_a_convolution_counts_two_operations_per_multiply_add() -> None:
    assert WORKLOADS["resnet18_c2"].flops == 2 * 56 * 56 * 64 * 64 * 9


def test_workloads_have_the_output_sizes_of_their_networks() -> None:
    outputs = {name: op.user_shapes()["y"] for name, op in WORKLOADS.items()}
    assert outputs["resnet18_c1"] == (1, 64, 112, 112)
    assert outputs["resnet18_c10"] == (1, 512, 7, 7)
    assert outputs["mobilenet_d8"] == (1, 512, 7, 7)
    assert sum(name.startswith("resnet18_c") for name in outputs) == 12
    assert sum(name.startswith("mobilenet_d") for name in outputs) == 9
    assert len({op.program().hash for op in WORKLOADS.values()}) == len(WORKLOADS)


def test_an_awkward_shape_is_near_its_round_neighbour_and_harder() -> None:
    assert len(ROUND_NEIGHBOURS) * 2 == len(AWKWARD_WORKLOADS) == len(set(AWKWARD_WORKLOADS.values()))
    for awkward, neighbour in ROUND_NEIGHBOURS.items():
        sizes = [AWKWARD_WORKLOADS[name].flops for name in (awkward, neighbour)]
        assert 0.7 < sizes[0] / sizes[1] < 1.4, awkward
        odd, even = (AWKWARD_WORKLOADS[name].user_shapes()["y"][-1] for name in (awkward, neighbour))
        channels = AWKWARD_WORKLOADS[awkward].user_shapes()["y"][1]
        assert odd % 2 or channels % 2, awkward
        assert even % 4 == 0, awkward


def test_workloads_of_memory_lie_beyond_the_caches_or_within() -> None:
    def num_bytes(operator: Operator) -> int:
        program = operator.program()
        return sum(tensor.num_bytes for tensor in (*program.inputs, program.output))

    assert not LARGE_MEMORY_WORKLOADS.keys() & SMALL_MEMORY_WORKLOADS.keys()
    assert not MEMORY_WORKLOADS.keys() & WORKLOADS.keys()
    assert len({op.program().hash for op in MEMORY_WORKLOADS.values()}) == len(MEMORY_WORKLOADS)
    assert min(map(num_bytes, LARGE_MEMORY_WORKLOADS.values())) >= 64 * 2**20
    assert max(map(num_bytes, SMALL_MEMORY_WORKLOADS.values())) <= 8 * 2**20


def test_weights_are_constant_and_batched_matmul_operands_are_not() -> None:
    def constants(operator: Operator) -> set[str]:
        return {t.name for t in operator.program().inputs if t.is_constant}

    conv = Conv2d(height=4, width=4, in_channels=2, out_channels=2, bias=True, residual=True)
    assert constants(conv) == {"w", "bias"}
    assert constants(Matmul(m=2, k=2, n=2)) == {"b"}
    assert constants(Matmul(m=2, k=2, n=2, batch=2)) == set()


def test_an_epilogue_is_one_stage_after_the_main_one() -> None:
    plain = Matmul(m=2, k=3, n=4).program()
    full = Matmul(m=2, k=3, n=4, bias=True, relu=True, residual=True).program()
    assert [stage.output.name for stage in plain.stages] == ["y"]
    assert [stage.output.name for stage in full.stages] == ["y_matmul", "y"]
    assert [t.name for t in full.inputs] == ["a", "b", "bias", "residual"]


def test_equal_windows_written_differently_are_equal_operators() -> None:
    sizes = {"height": 8, "width": 8, "in_channels": 2, "out_channels": 2}
    short = Conv2d(**sizes, kernel=3, padding=1)
    assert make_operator("conv2d", {**sizes, "kernel": [3, 3], "padding": [1, 1, 1, 1]}) == short


def test_only_padded_dimensions_are_checked() -> None:
    conv = Conv2d(height=8, width=8, in_channels=1, out_channels=1, kernel=3, padding=(0, 1))
    select = conv.program().stages[0].value.left  # type: ignore[union-attr]
    assert len(select.conditions) == 1  # type: ignore[union-attr]


CONV = {"height": 8, "width": 8, "in_channels": 4, "out_channels": 4}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("conv3d", {}, r"operator must be one of .*conv2d.*got 'conv3d'"),
        ("matmul", {"m": 2, "k": 2}, r"matmul: n must be given, got m, k"),
        ("matmul", {"m": 2, "k": 2, "n": 2, "l": 1}, r"parameters are m, k, n.*got 'l'"),
        ("matmul", {"m": 0, "k": 2, "n": 2}, r"m must be a positive integer, got 0"),
        ("matmul", {"m": 2.5, "k": 2, "n": 2}, r"m must be a positive integer, got 2.5"),
        ("matmul", {"m": "2", "k": 2, "n": 2}, r"m must be a positive integer, got '2'"),
        ("matmul", {"m": True, "k": 2, "n": 2}, r"m must be a positive integer, got True"),
        ("matmul", {"m": 2, "k": 2, "n": 2, "relu": 1}, r"relu must be true or false, got 1"),
        ("conv2d", {**CONV, "kernel": 11, "padding": 1}, r"kernel 11 .*larger than the padded height 10"),
        ("conv2d", {**CONV, "kernel": (3, 5), "dilation": 2}, r"kernel 5 .*larger than the padded width 8"),
        ("conv2d", {**CONV, "groups": 3}, r"groups must divide in_channels 4, got 3"),
        ("conv2d", {**CONV, "stride": 0}, r"stride must be an integer or 2 of them, each at least 1, got 0"),
        ("conv2d", {**CONV, "padding": [1, 2, 3]}, r"padding must be .*2 or 4 of them.*got \(1, 2, 3\)"),
        ("conv2d", {**CONV, "padding": -1}, r"padding must be .*at least 0, got -1"),
        ("conv2d", {**CONV, "layout": "CHWN"}, r"layout must be one of NCHW, NHWC, got 'CHWN'"),
        ("pool2d", {"height": 8, "width": 8, "channels": 2, "kernel": 2, "padding": 2}, r"outside the image"),
        (
            "pool2d",
            {"height": 8, "width": 8, "channels": 2, "kind": "min"},
            r"one of max, average, got 'min'",
        ),
        ("elementwise", {"shape": [4], "ops": ["relu", "foo"]}, r"ops must be some of .*got .*'foo'"),
        ("elementwise", {"shape": [4], "ops": []}, r"ops must be some of"),
        ("elementwise", {"shape": [], "ops": ["relu"]}, r"shape must have at least one size"),
        ("layer_norm", {"rows": 2, "cols": 2, "eps": 0}, r"eps must be a number between 0 and 1, got 0"),
        ("reduce", {"rows": 2, "cols": 2, "kind": "prod"}, r"one of sum, max, mean, got 'prod'"),
    ],
)
def test_impossible_parameters_are_refused_by_value(
    name: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_operator(name, parameters)


def test_a_missing_or_misshapen_operand_is_named() -> None:
    operator = Matmul(m=2, k=3, n=4)
    with pytest.raises(ValueError, match="operand b is missing, got a"):
        operator.reference({"a": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"operand b must have shape \(3, 4\), got \(3, 3\)"):
        operator.reference({"a": np.zeros((2, 3)), "b": np.zeros((3, 3))})


@settings(max_examples=40)
@given(operator=operators(), seed=seeds)
def test_float32_evaluation_is_within_tolerance(operator: Operator, seed: int) -> None:
    inputs = make_inputs(operator, np.random.default_rng(seed))
    rtol, atol = tolerance(operator.program())
    rounded = operator.reference(inputs).astype(np.float32)
    np.testing.assert_allclose(rounded, operator.reference(inputs), rtol=rtol, atol=atol)


def test_a_sequential_float32_sum_is_within_tolerance_and_a_missing_term_is_not() -> None:
    operator = Matmul(m=16, k=4608, n=16)
    inputs = make_inputs(operator, np.random.default_rng(0))
    a, b = inputs["a"], inputs["b"]
    total = np.zeros((16, 16), dtype=np.float32)
    for k in range(4608):
        total += np.outer(a[:, k], b[k])
    rtol, atol = tolerance(operator.program())
    expected = operator.reference(inputs)
    assert np.allclose(total, expected, rtol=rtol, atol=atol)
    assert not np.allclose(total - np.outer(a[:, -1], b[-1]), expected, rtol=rtol, atol=atol)


def test_tolerance_grows_with_the_reduction_and_shrinks_with_the_result() -> None:
    assert tolerance(Matmul(m=2, k=4000, n=2).program())[1] > tolerance(Matmul(m=2, k=4, n=2).program())[1]
    assert tolerance(Softmax(rows=2, cols=1000).program())[1] < 1e-6


def test_a_padded_mean_has_one_reduction() -> None:
    pool = Pool2d(height=4, width=4, channels=1, kernel=3, stride=1, padding=(1, 0), kind="average")
    assert [stage.reducer for stage in pool.program().stages] == ["sum", None]


def test_padding_counts_in_a_mean_only_when_asked() -> None:
    sizes = {
        "height": 2,
        "width": 2,
        "channels": 1,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "kind": "average",
    }
    ones = {"x": np.ones((1, 1, 2, 2))}
    assert make_operator("pool2d", sizes).reference(ones).max() == 1.0
    counted = make_operator("pool2d", {**sizes, "count_include_pad": True})
    assert isinstance(counted, Pool2d)
    assert counted.reference(ones).max() == pytest.approx(4 / 9)
