"""Runs tapes in native code: a small vector machine, compiled once per process.

Compiling each sketch's arithmetic would cost tens of milliseconds a sketch; a machine that interprets
the tape on rows of 128 candidates costs a few nanoseconds per operation and row instead, and nothing
ahead of time. Rows are reused as soon as their value is dead, so that they stay in the L2 cache.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.ir.jit import Function, compile_function, compiled_once
from codegen.ir.trace import FloatArray, Tape
from codegen.ir.trace_text import BLOCK, INPUT, LANES, LOG2, NAMES, STORE, STORE_HALF, machine_text

ROW_MULTIPLE = 64
"""Rows of results are padded to a multiple of this many candidates."""

_INSTRUCTION = np.dtype(
    [("code", "i4"), ("target", "i4"), ("left", "i4"), ("right", "i4"), ("constant", "f8")]
)


_CODES = {name: 3 * number for number, name in enumerate(NAMES)}
"""The first instruction of each operation: on two values, then with a constant on the right, on the left."""


@dataclass(frozen=True)
class Code:
    """A tape as instructions of the vector machine, which needs ``num_rows`` rows for live values.

    Outputs that are constants are the numbers at ``constant_outputs``, everywhere ``constants``.
    """

    instructions: NDArray[Any]
    num_rows: int
    num_outputs: int
    constant_outputs: NDArray[np.int64]
    constants: FloatArray


def run(tape: Tape, columns: FloatArray) -> FloatArray:
    """Inputs (inputs, N) to outputs (outputs, N), exactly as ``codegen.ir.trace.replay``."""
    return execute(assemble(tape, np.float64), columns, np.float64)


def assemble(tape: Tape, dtype: type[np.float64] | type[np.float32]) -> Code:
    """Instructions with a row for each live value; outputs are stored, as ``dtype``, once they are known."""
    last = _last_uses(tape)
    stores: dict[int, list[int]] = {}
    for position, output in enumerate(tape.outputs):
        if isinstance(output, int):
            stores.setdefault(output, []).append(position)
    store = STORE if dtype is np.float64 else STORE_HALF
    rows: dict[int, int] = {}
    free: list[int] = []
    num_rows = 0
    code: list[tuple[int, int, int, int, float]] = []
    for number, operation in enumerate(tape.operations):
        left = right = 0
        if operation.name != "input":
            left = rows[operation.left] if isinstance(operation.left, int) else -1
            right = rows[operation.right] if isinstance(operation.right, int) else -1
            for operand in (operation.left, operation.right):
                if isinstance(operand, int) and last[operand] == number and operand in rows:
                    free.append(rows.pop(operand))
        if not free:
            free.append(num_rows)
            num_rows += 1
        rows[number] = free.pop()
        code.append(_instruction(operation.name, rows[number], left, right, operation.left, operation.right))
        code.extend((store, position, rows[number], 0, 0.0) for position in stores.get(number, ()))
        if number not in last:
            free.append(rows.pop(number))
    known = [position for position, output in enumerate(tape.outputs) if isinstance(output, float)]
    constants = np.array([tape.outputs[position] for position in known], dtype=np.float64)
    instructions = np.array(code, dtype=_INSTRUCTION)
    return Code(instructions, num_rows, len(tape.outputs), np.array(known, dtype=np.int64), constants)


def execute(code: Code, columns: FloatArray, dtype: type[Any]) -> NDArray[Any]:
    """Run assembled instructions; the result has shape (outputs, N).

    It is a view of an array whose rows are at least N rounded up to ``ROW_MULTIPLE`` long, for code that
    reads whole vectors; what stands beyond N is unspecified.
    """
    num_inputs, num_candidates = columns.shape
    padded = -(-num_candidates // LANES) * LANES
    values = np.empty((num_inputs, padded))
    values[:, :num_candidates] = columns
    values[:, num_candidates:] = columns[:, -1:]  # any legal candidate keeps the padding finite
    # An odd multiple of a cache line: rows at powers of two would all fall into the same cache sets.
    stride = -(-num_candidates // ROW_MULTIPLE) * ROW_MULTIPLE + 16
    outputs = np.empty((code.num_outputs, stride), dtype)
    if len(code.constants):
        outputs[code.constant_outputs] = code.constants[:, None]
    if num_candidates:
        rows = np.empty((max(code.num_rows, 1), BLOCK))
        pointers = (a.ctypes.data for a in (code.instructions, rows, values, outputs))
        _machine().call(len(code.instructions), padded, stride, *pointers)
    return outputs[:, :num_candidates]


def machine_address() -> int:
    """Of the vector machine, for native code that runs tapes; arguments as ``execute`` passes them."""
    return _machine().address


def _last_uses(tape: Tape) -> dict[int, int]:
    last: dict[int, int] = {}
    for number, (name, left, right) in enumerate(tape.operations):
        if name != "input":
            if isinstance(left, int):
                last[left] = number
            if isinstance(right, int):
                last[right] = number
    return last


def _instruction(
    name: str, target: int, left: int, right: int, left_value: float, right_value: float
) -> tuple[int, int, int, int, float]:
    if name == "input":
        return INPUT, target, int(left_value), 0, 0.0
    if name == "log2":
        return LOG2, target, left, left, 0.0
    code = _CODES[name]
    if right < 0:
        return code + 1, target, left, left, float(right_value)
    if left < 0:
        return code + 2, target, right, right, float(left_value)
    return code, target, left, right, 0.0


@compiled_once
def _machine() -> Function:
    """Compiled once per process."""
    return compile_function(machine_text(), "run", [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 4)
