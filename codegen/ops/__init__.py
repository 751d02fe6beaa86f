"""Operators as tensor expressions, each beside its NumPy reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields

from codegen.ops.convolution import Conv2d
from codegen.ops.elementwise import Elementwise
from codegen.ops.matmul import Matmul
from codegen.ops.matrices import Reduce, Transpose
from codegen.ops.memory_workloads import (
    LARGE_MEMORY_WORKLOADS,
    MEMORY_WORKLOADS,
    SMALL_MEMORY_WORKLOADS,
)
from codegen.ops.normalization import LayerNorm, Softmax
from codegen.ops.operands import make_inputs, small_integer_inputs
from codegen.ops.operator import Operator
from codegen.ops.pooling import GlobalAveragePool, Pool2d
from codegen.ops.scale_shift import ScaleShift
from codegen.ops.tolerance import tolerance
from codegen.ops.workloads import (
    AWKWARD_WORKLOADS,
    GPU_LARGE_WORKLOADS,
    ROUND_NEIGHBOURS,
    TRANSFORMER_WORKLOADS,
    WORKLOADS,
)

OPERATORS: dict[str, type[Operator]] = {
    "matmul": Matmul,
    "conv2d": Conv2d,
    "pool2d": Pool2d,
    "global_average_pool": GlobalAveragePool,
    "softmax": Softmax,
    "layer_norm": LayerNorm,
    "elementwise": Elementwise,
    "scale_shift": ScaleShift,
    "reduce": Reduce,
    "transpose": Transpose,
}
"""Every operator by the name that task files and command lines use."""


def make_operator(name: str, parameters: Mapping[str, object]) -> Operator:
    """The operator of that name; lists may stand for tuples.

    Raises:
        ValueError: for an unknown name, an unknown or missing parameter, or a value that is not allowed.

    >>> make_operator("matmul", {"m": 2, "k": 3, "n": 4}).flops
    48
    """
    if name not in OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, got {name!r}")
    known = {f.name: f for f in fields(OPERATORS[name])}  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            raise ValueError(f"{name}: parameters are {', '.join(known)}, got {key!r}")
    missing = [key for key, f in known.items() if f.default is MISSING and key not in parameters]
    if missing:
        raise ValueError(
            f"{name}: {', '.join(missing)} must be given, got {', '.join(parameters) or 'nothing'}"
        )
    return OPERATORS[name](**{key: _tupled(value) for key, value in parameters.items()})


def operator_parameters(operator: Operator) -> dict[str, object]:
    """Every parameter by name as JSON knows it; ``make_operator`` gives the same operator back."""
    values = {f.name: getattr(operator, f.name) for f in fields(operator)}  # type: ignore[arg-type]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _tupled(value: object) -> object:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


__all__ = [
    "AWKWARD_WORKLOADS",
    "GPU_LARGE_WORKLOADS",
    "LARGE_MEMORY_WORKLOADS",
    "MEMORY_WORKLOADS",
    "OPERATORS",
    "ROUND_NEIGHBOURS",
    "SMALL_MEMORY_WORKLOADS",
    "TRANSFORMER_WORKLOADS",
    "WORKLOADS",
    "Conv2d",
    "Elementwise",
    "GlobalAveragePool",
    "LayerNorm",
    "Matmul",
    "Operator",
    "Pool2d",
    "Reduce",
    "ScaleShift",
    "Softmax",
    "Transpose",
    "make_inputs",
    "make_operator",
    "operator_parameters",
    "small_integer_inputs",
    "tolerance",
]
