"""Recorded integer arithmetic, replayed on the knob values of many candidates at once.

A sketch is lowered once, on ``Symbol``s. ``record`` turns the expressions that come out into a ``Tape``:
common subexpressions merged, constants folded, operands before what uses them. A tape runs on arrays
of any length, either with NumPy (``replay``) or in native code (``codegen.ir.trace_native``), bit for bit
alike. All arithmetic is in float64, which is exact for integers below 2**53.

Feature code adds two operations to those of ``Symbol``: ``log2`` and the true division ``ratio``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codegen.ir.arithmetic import Int, Symbol, is_known

FloatArray = NDArray[np.float64]

_COMMUTATIVE = frozenset({"add", "mul", "min", "max"})
LOG2_TERMS = tuple(float(2 / np.log(2) / (2 * k + 1)) for k in range(6))
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_MANTISSA_BITS = 52
_NEUTRAL = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0, "floordiv": 1.0}
"""What changes nothing on the right of an operation."""


class Operation(NamedTuple):
    """Value ``number`` is ``name`` of two operands; an int operand is another value, a float a constant.

    ``input`` has the position of the input as its left operand; ``log2`` repeats its operand on the right.
    """

    name: str
    left: int | float
    right: int | float


@dataclass(frozen=True)
class Tape:
    """Operations in order, value i being the result of operation i; outputs are values or constants."""

    inputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[int | float, ...]

    def columns(self, values: Mapping[str, ArrayLike]) -> FloatArray:
        """The inputs as rows of one array, shape (inputs, N)."""
        rows = [np.asarray(values[name], dtype=np.float64) for name in self.inputs]
        return np.stack(rows) if rows else np.zeros((0, 1))


def compile_arithmetic(
    outputs: Sequence[Int], inputs: Sequence[str]
) -> Callable[[Mapping[str, ArrayLike]], FloatArray]:
    """A function from the knobs' values, arrays of shape (N,), to the outputs, shape (N, len(outputs)).

    Exact as long as every intermediate integer is below 2**53.
    """
    from codegen.ir.trace_native import run

    tape = record(outputs, inputs)
    return lambda values: run(tape, tape.columns(values)).T


def log2(value: Int) -> Int:
    """The binary logarithm of a positive number, recorded; exact for powers of two, else to 1e-10."""
    return Symbol("log2", (_operand(value),))


def ratio(numerator: Int, denominator: Int) -> Int:
    """True division, recorded; numbers that are known stay recorded too, so the result is a Symbol."""
    return Symbol("div", (_operand(numerator), _operand(denominator)))


def record(outputs: Sequence[Int], inputs: Sequence[str]) -> Tape:
    """Put the arithmetic behind the outputs in order; inputs nobody needs are allowed.

    Raises:
        ValueError: if an output depends on a name that is not among the inputs, or is an array.
    """
    recorder = _Recorder(tuple(inputs), {}, {}, [])
    numbers = tuple(recorder.value(output) for output in outputs)
    return Tape(tuple(inputs), tuple(recorder.operations), numbers)


def replay(tape: Tape, columns: FloatArray) -> FloatArray:
    """Run a tape with NumPy, inputs (inputs, N) to outputs (outputs, N): the oracle of the native code."""
    values: list[FloatArray] = []

    def operand(of: int | float) -> FloatArray | float:
        return values[of] if isinstance(of, int) else of

    for operation in tape.operations:
        if operation.name == "input":
            values.append(columns[int(operation.left)])
        else:
            values.append(
                np.asarray(_apply(operation.name, operand(operation.left), operand(operation.right)))
            )
    num_rows = columns.shape[1]
    rows = [np.broadcast_to(operand(output), (num_rows,)) for output in tape.outputs]
    return np.stack(rows) if rows else np.zeros((0, num_rows))


@dataclass
class _Recorder:
    """Hash-consing: equal operations get one number, and each Symbol is looked at once."""

    inputs: tuple[str, ...]
    numbers: dict[tuple[object, ...], int]
    seen: dict[Symbol, int | float]
    operations: list[Operation]

    def value(self, of: Int) -> int | float:
        """The number of an expression's value, or the constant it is. Iterative: chains may be long."""
        if not isinstance(of, Symbol):
            return _constant(of)
        seen, stack = self.seen, [of]
        while stack:
            node, height = stack[-1], len(stack)
            if node not in seen:
                for operand in node.operands:
                    if isinstance(operand, Symbol) and operand not in seen:
                        stack.append(operand)
                if len(stack) > height:
                    continue
                seen[node] = self._emit(node)
            stack.pop()
        return seen[of]

    def _emit(self, node: Symbol) -> int | float:
        if node.operation == "input":
            return self._input(str(node.operands[0]))
        first, last = node.operands[0], node.operands[-1]
        left = self.seen[first] if isinstance(first, Symbol) else _constant(first)
        right = self.seen[last] if isinstance(last, Symbol) else _constant(last)
        if isinstance(left, float) and isinstance(right, float):
            return float(_apply(node.operation, left, right))
        same = _shortcut(node.operation, left, right)
        if same is not None:
            return same
        if node.operation in _COMMUTATIVE and _order(left) > _order(right):
            left, right = right, left
        return self._append(node.operation, left, right)

    def _input(self, name: str) -> int:
        if name not in self.inputs:
            raise ValueError(f"the arithmetic depends on {name!r}, but the inputs are {list(self.inputs)}")
        return self._append("input", self.inputs.index(name), 0)

    def _append(self, name: str, left: int | float, right: int | float) -> int:
        # Value number 5 and the constant 5.0 are equal as dictionary keys, so their types count too.
        key = (name, left, right, type(left), type(right))
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.operations)
            self.operations.append(Operation(name, left, right))
        return number


def _operand(value: Int) -> Symbol | int:
    if isinstance(value, Symbol) or is_known(value):
        return value  # type: ignore[return-value]
    raise ValueError(f"only ints and Symbols are recorded, got {value!r}")


def _constant(value: object) -> float:
    if isinstance(value, (int, float, np.integer)):
        return float(value)
    raise ValueError(f"only ints and Symbols are recorded, got {value!r}")


def _order(operand: int | float) -> tuple[bool, float]:
    """Values before constants, so that a commutative operation has its constant on the right."""
    return isinstance(operand, float), operand


def _shortcut(name: str, left: int | float, right: int | float) -> int | float | None:
    """The result, where no arithmetic is needed to know it."""
    is_same = isinstance(left, int) and isinstance(right, int) and left == right
    if is_same and name in ("min", "max"):
        return left
    if is_same and name == "sub":
        return 0.0
    if is_same and name in ("div", "floordiv"):
        return 1.0
    if isinstance(right, float):
        return left if _NEUTRAL.get(name) == right else None
    if isinstance(left, float) and (name, left) in (("add", 0.0), ("mul", 1.0)):
        return right
    return None


def _apply(name: str, left: FloatArray | float, right: FloatArray | float) -> FloatArray | float:
    return _APPLY[name](left, right)


def _floor_divide(left: FloatArray | float, right: FloatArray | float) -> FloatArray:
    # Correctly rounded division followed by floor is exact integer division below 2**53.
    return np.asarray(np.floor(np.true_divide(left, right)))


def _log2(value: FloatArray | float, _: FloatArray | float) -> FloatArray:
    """``atanh`` series about the mantissa in [sqrt(1/2), sqrt(2)); the same operations as native code."""
    bits = np.asarray(value, dtype=np.float64).view(np.int64)
    exponent = (bits - SQRT_HALF_BITS) >> _MANTISSA_BITS
    mantissa = (bits - (exponent << _MANTISSA_BITS)).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, LOG2_TERMS[-1])
    for term in LOG2_TERMS[-2::-1]:
        series = series * square + term
    return np.asarray(exponent.astype(np.float64) + series * s)


_APPLY: dict[str, Callable[[FloatArray | float, FloatArray | float], FloatArray | float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: np.asarray(np.true_divide(a, b)),
    "floordiv": _floor_divide,
    "min": np.minimum,
    "max": np.maximum,
    "log2": _log2,
}
