"""Random operands for checking and timing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Program
from codegen.ops.operator import Operator


def make_inputs(source: Program | Operator, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Standard normal float32 operands in the program's shapes and order."""
    return {
        tensor.name: rng.standard_normal(tensor.shape, dtype=np.float32) for tensor in _program(source).inputs
    }


def small_integer_inputs(
    source: Program | Operator, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Integers from -3 to 3, so that sums of products are exact in any order up to a million terms."""
    return {
        tensor.name: rng.integers(-3, 4, tensor.shape).astype(np.float32)
        for tensor in _program(source).inputs
    }


def _program(source: Program | Operator) -> Program:
    return source if isinstance(source, Program) else source.program()
