"""Rewriting what is read and what is computed anew keeps what a program computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.ir.expression import Program
from codegen.ir.interpret import interpret_program
from codegen.ops import LayerNorm, Operator, Softmax, make_inputs
from codegen.schedule.recompute import inline_elementwise, read_once


@pytest.mark.parametrize("rewrite", [inline_elementwise, read_once])
@pytest.mark.parametrize("operator", [Softmax(rows=3, cols=5), LayerNorm(rows=3, cols=5)])
def test_the_result_stays(operator: Operator, rewrite: Callable[[Program], Program]) -> None:
    inputs = make_inputs(operator, np.random.default_rng(0))
    actual = interpret_program(rewrite(operator.program()), inputs)
    np.testing.assert_allclose(actual, operator.reference(inputs), rtol=1e-12)


def test_elementwise_stages_disappear() -> None:
    stages = inline_elementwise(Softmax(rows=3, cols=5).program()).stages
    assert [stage.output.name for stage in stages] == ["row_max", "row_sum", "y"]


def test_an_input_that_several_stages_read_is_copied_first() -> None:
    stages = read_once(LayerNorm(rows=3, cols=5).program()).stages
    assert stages[0].output.name == "x_read"
    assert "scale_read" not in {stage.output.name for stage in stages}
