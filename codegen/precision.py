"""In which formats a GPU kernel keeps tensors and multiplies matrices; sums are always float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Storage: TypeAlias = Literal["float32", "float16", "bfloat16"]
"""Format of inputs and output in memory."""

DotInput: TypeAlias = Literal["ieee", "tf32", "float16", "bfloat16"]
"""Format in which a matrix product of float32 operands takes them; ``ieee`` is float32 as it is."""

_EPSILONS = {
    "float32": 2.0**-23,
    "ieee": 2.0**-23,
    "tf32": 2.0**-10,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}


@dataclass(frozen=True)
class Precision:
    """What a kernel rounds to. Operands stored in 16 bits are multiplied as they are."""

    storage: Storage = "float32"
    dot_input: DotInput = "ieee"

    def __post_init__(self) -> None:
        if self.storage not in get_args(Storage):
            raise ValueError(f"storage must be one of {', '.join(get_args(Storage))}, got {self.storage!r}")
        if self.dot_input not in get_args(DotInput):
            allowed = ", ".join(get_args(DotInput))
            raise ValueError(f"dot_input must be one of {allowed}, got {self.dot_input!r}")
        if self.storage != "float32" and self.dot_input != "ieee":
            raise ValueError(
                f"dot_input is for float32 storage: {self.storage} operands are multiplied as they are, "
                f"got {self.dot_input!r}"
            )

    @property
    def storage_epsilon(self) -> float:
        """Distance from 1 to the next number in memory."""
        return _EPSILONS[self.storage]

    @property
    def dot_epsilon(self) -> float:
        """Distance from 1 to the next operand of a matrix product."""
        return max(self.storage_epsilon, _EPSILONS[self.dot_input])


def rounded(array: NDArray[np.float32], storage: Storage) -> NDArray[np.float32]:
    """The nearest numbers of a storage format, ties to even; finite ones too large become infinite.

    >>> rounded(np.array([1.001, 3.0], np.float32), "bfloat16")
    array([1., 3.], dtype=float32)
    """
    if storage == "float32":
        return array
    if storage == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(array).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    kept = ((bits + half) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(array), array, kept)
