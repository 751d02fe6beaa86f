"""The right answer of a task: fixed inputs, the reference output, and how far a kernel may be from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Program
from codegen.measure.arrays import touched_copy, touched_zeros
from codegen.ops import Operator, make_inputs, tolerance
from codegen.precision import Precision, rounded


class Oracle:
    """Inputs of an operator, in the shapes of ``program``, and its reference output.

    ``program`` is the operator's own or an equal one whose tensors are views of the same bytes.
    Building one computes the reference in float64, which takes seconds for large convolutions;
    ``complaint`` then takes milliseconds. Inputs are numbers of the precision's storage format.
    """

    def __init__(
        self, operator: Operator, program: Program, seed: int, precision: Precision | None = None
    ) -> None:
        precision = precision or Precision()
        drawn = make_inputs(operator, np.random.default_rng(seed))
        inputs = {name: rounded(array, precision.storage) for name, array in drawn.items()}
        self._tolerance = partial(tolerance, operator.program(), precision)
        reference = operator.reference(inputs).reshape(program.output.shape)
        # In float32: rounding the reference costs a hundredth of the tolerance and halves the traffic.
        self._expected = reference.astype(np.float32)
        # An infinity must be met exactly: a share of it would allow everything.
        magnitude = np.where(np.isfinite(self._expected), np.abs(reference), 0.0)
        self._magnitude = magnitude.astype(np.float32)
        self._allowed: dict[tuple[float, float], NDArray[np.float32]] = {}
        self._error = np.empty_like(self._expected)
        self.operands: Mapping[str, NDArray[np.float32]] = {
            tensor.name: touched_copy(inputs[tensor.name], tensor.shape) for tensor in program.inputs
        }
        self.output = touched_zeros(program.output.shape)
        constant = {tensor.name for tensor in program.inputs if tensor.is_constant}
        self.constants = {name: array for name, array in self.operands.items() if name in constant}

    def poison(self) -> None:
        """Fill the output with NaN, so that an element that is never written is found."""
        self.output.fill(np.nan)

    def complaint(self, errors: Mapping[str, float] | None = None) -> str | None:
        """None if the output is within tolerance everywhere, else a sentence on the worst element.

        ``errors`` are those of the candidate's sketch.
        """
        allowed = self._allowed_errors(errors)
        with np.errstate(invalid="ignore"):  # equal infinities have no difference
            np.subtract(self.output, self._expected, out=self._error)
        np.abs(self._error, out=self._error)
        is_right = self._error <= allowed
        if not is_right.all():
            is_right |= self.output == self._expected
        if is_right.all():
            return None
        excess = np.where(np.isnan(self._error), np.inf, self._error - allowed)
        excess[is_right] = -np.inf
        worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
        return (
            f"{np.count_nonzero(~is_right)} of {is_right.size} elements are wrong; the worst at "
            f"{tuple(int(i) for i in worst)} is {self.output[worst]:.6g} instead of "
            f"{self._expected[worst]:.6g}, allowed error {allowed[worst]:.2g}"
        )

    @property
    def max_abs_error(self) -> float:
        """Of the output that ``complaint`` was last asked about; NaN if that has one."""
        return float(self._error.max())

    def _allowed_errors(self, errors: Mapping[str, float] | None) -> NDArray[np.float32]:
        """The greatest error of each element; kept, since few sketches differ in it."""
        rtol, atol = self._tolerance(errors)
        if (rtol, atol) not in self._allowed:
            self._allowed[rtol, atol] = np.float32(atol) + np.float32(rtol) * self._magnitude
        return self._allowed[rtol, atol]
