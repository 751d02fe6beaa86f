"""What every operator offers, and the checks and shorthands that operators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Binary, BinaryOp, Expr, Load, Program

Arrays: TypeAlias = Mapping[str, NDArray[np.floating]]
"""Operand arrays by name."""

Pair: TypeAlias = int | tuple[int, int]
"""One number for both of height and width, or (height, width)."""


class Operator(Protocol):
    """A tensor operator with all its sizes: a frozen dataclass whose fields are its parameters.

    The tensors of ``program()`` are row-major views of the user's arrays: the same bytes, often with a
    dimension split or merged. ``user_shapes()`` states the shapes that a user passes and gets.
    """

    operator_name: ClassVar[str]

    def program(self) -> Program:
        """The computation as a tensor expression; the result is tensor ``y``."""
        ...

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """The result by plain NumPy in float64, shaped like the program's output.

        ``inputs`` may have the program's shapes or the user's.
        """
        ...

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every operand and of ``y`` as users know them."""
        ...

    @property
    def flops(self) -> int:
        """Scalar arithmetic operations of one call; a multiply-add counts as two."""
        ...


def element(buffer: str, *index: str | Affine) -> Load:
    """``buffer[index]``, where a string is an axis."""
    return Load(buffer, tuple(variable(i) if isinstance(i, str) else i for i in index))


def combine(op: BinaryOp, *operands: Expr) -> Expr:
    """The operands joined from the left by one operation."""
    result = operands[0]
    for operand in operands[1:]:
        result = Binary(op, result, operand)
    return result


def require_sizes(operator: str, **sizes: object) -> None:
    """ValueError unless every value is a positive integer."""
    for name, value in sizes.items():
        if not _is_integer(value) or value < 1:  # type: ignore[operator]
            raise ValueError(f"{operator}: {name} must be a positive integer, got {value!r}")


def require_flags(operator: str, **flags: object) -> None:
    """ValueError unless every value is a bool."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{operator}: {name} must be true or false, got {value!r}")


def require_choice(operator: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """ValueError unless the value is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{operator}: {name} must be one of {', '.join(allowed)}, got {value!r}")


def read_numbers(
    operator: str, name: str, value: object, lengths: Sequence[int], least: int
) -> tuple[int, ...]:
    """A tuple of integers of one of the lengths, from an int (repeated to the first length) or a sequence."""
    allowed = f"an integer or {' or '.join(str(n) for n in lengths)} of them, each at least {least}"
    numbers: tuple[object, ...]
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = tuple(value)
    else:
        numbers = (value,) * lengths[0]
    integers = tuple(n for n in numbers if isinstance(n, int) and _is_integer(n) and n >= least)
    if len(numbers) not in lengths or len(integers) != len(numbers):
        raise ValueError(f"{operator}: {name} must be {allowed}, got {value!r}")
    return integers


def operand_array(inputs: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One operand in float64 and the given shape; ValueError when it is missing or has another size."""
    if name not in inputs:
        raise ValueError(f"operand {name} is missing, got {', '.join(inputs) or 'none'}")
    array = np.asarray(inputs[name], dtype=np.float64)
    if array.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"operand {name} must have shape {shape}, got {array.shape}")
    return array.reshape(shape)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
