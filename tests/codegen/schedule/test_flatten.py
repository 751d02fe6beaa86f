"""Flattening drops and fuses axes without changing bytes or results."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.interpret import interpret_program
from codegen.ops import make_operator, small_integer_inputs
from codegen.schedule import flatten_program


def flattened_shapes(
    name: str, parameters: dict[str, object]
) -> tuple[tuple[int, ...], list[int], list[int]]:
    program = flatten_program(make_operator(name, parameters).program())
    first = program.stages[0]
    return program.output.shape, [a.extent for a in first.axes], [a.extent for a in first.reduce_axes]


def test_a_pointwise_convolution_becomes_a_matrix_product() -> None:
    parameters = {"height": 7, "width": 6, "in_channels": 8, "out_channels": 4, "kernel": 1, "relu": True}
    assert flattened_shapes("conv2d", parameters) == ((4, 42), [4, 42], [8])


def test_a_strided_pointwise_convolution_keeps_rows_and_columns_apart() -> None:
    parameters = {"height": 8, "width": 8, "in_channels": 8, "out_channels": 4, "kernel": 1, "stride": 2}
    assert flattened_shapes("conv2d", parameters) == ((4, 4, 4), [4, 4, 4], [8])


def test_a_padded_convolution_only_loses_its_batch() -> None:
    parameters = {"height": 8, "width": 8, "in_channels": 8, "out_channels": 4, "padding": 1}
    assert flattened_shapes("conv2d", parameters) == ((4, 8, 8), [4, 8, 8], [8, 3, 3])


def test_a_padded_row_of_one_element_is_kept() -> None:
    operator = make_operator(
        "conv2d", {"height": 1, "width": 8, "in_channels": 2, "out_channels": 4, "padding": 1}
    )
    assert flatten_program(operator.program()).inputs[0].shape == (2, 1, 8)


def test_an_elementwise_chain_becomes_one_loop() -> None:
    assert flattened_shapes("elementwise", {"shape": [2, 3, 4], "ops": ["relu"]}) == ((24,), [24], [])


def test_global_pooling_reduces_one_axis() -> None:
    assert flattened_shapes("global_average_pool", {"channels": 5, "height": 3, "width": 2}) == (
        (5,),
        [5],
        [6],
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("conv2d", {"height": 5, "width": 6, "in_channels": 3, "out_channels": 4, "kernel": 1, "bias": True}),
        ("conv2d", {"height": 5, "width": 6, "in_channels": 4, "out_channels": 4, "groups": 2}),
        ("matmul", {"m": 1, "k": 5, "n": 7}),
        ("softmax", {"rows": 1, "cols": 9}),
    ],
)
def test_flattening_keeps_results(name: str, parameters: dict[str, object]) -> None:
    operator = make_operator(name, parameters)
    program = operator.program()
    flat = flatten_program(program)
    inputs = small_integer_inputs(operator, np.random.default_rng(0))
    reshaped = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in flat.inputs}
    original = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in program.inputs}
    expected = interpret_program(program, original)
    np.testing.assert_allclose(interpret_program(flat, reshaped).reshape(-1), expected.reshape(-1), rtol=1e-6)
