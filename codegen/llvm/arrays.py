"""Arguments of a kernel: NumPy arrays or torch tensors, checked, as addresses."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from codegen.llvm.signature import Operand

Array: TypeAlias = Any
"""A C-contiguous float32 ``numpy.ndarray``, or such a ``torch.Tensor`` on the CPU."""

FLOAT32 = np.dtype(np.float32)

LINE_ELEMENTS = 16
"""Floats in a cache line, and in the widest vector."""


def is_tensor(array: Array) -> bool:
    """Whether an array is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def address_of(array: Array, operand: Operand) -> int:
    """Address of the first element.

    Raises:
        ValueError: if kind, shape, element type or memory order are not what the kernel needs.
    """
    if isinstance(array, np.ndarray):
        return _array_address(array, operand)
    if is_tensor(array):
        return _tensor_address(array, operand)
    kind = type(array).__name__
    raise ValueError(f"{operand.name} must be a numpy array or a torch tensor, got {kind}")


def require_writable(array: Array, operand: Operand) -> None:
    """ValueError for a read-only array."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError(f"{operand.name} must be writable")


def same_memory(array: Array) -> Array:
    """What keeps memory alive if its tensor is given other memory; nothing helps if it is resized."""
    return array.detach() if is_tensor(array) else array


def empty_like_inputs(shape: tuple[int, ...], inputs: Iterable[Array]) -> Array:
    """A new output of the same kind as the inputs: a tensor if any of them is one.

    It starts on a cache line (torch's tensors do anyway): what goes past the caches goes by whole vectors.
    """
    if any(map(is_tensor, inputs)):
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=torch.float32, device="cpu")
    num_elements = math.prod(shape)
    return _from_a_line(np.empty(num_elements + LINE_ELEMENTS, np.float32), num_elements).reshape(shape)


def aligned_zeros(num_elements: int) -> NDArray[np.float32]:
    """Zeroed floats that start on a cache line."""
    return _from_a_line(np.zeros(num_elements + LINE_ELEMENTS, np.float32), num_elements)


def _from_a_line(raw: NDArray[np.float32], num_elements: int) -> NDArray[np.float32]:
    start = (-_writable_address(raw) // FLOAT32.itemsize) % LINE_ELEMENTS
    return raw[start : start + num_elements]


def _array_address(array: NDArray[Any], operand: Operand) -> int:
    _check_shape(array, operand)
    if array.dtype != FLOAT32:
        raise ValueError(f"{operand.name} must be float32, got {array.dtype}")
    flags = array.flags
    if not flags.c_contiguous:
        raise ValueError(f"{operand.name} must be C-contiguous, got strides {array.strides}")
    if not flags.aligned:
        raise ValueError(f"{operand.name} must start at a multiple of 4 bytes")
    if flags.writeable:
        return _writable_address(array)
    address: int = array.ctypes.data
    return address


def _writable_address(array: NDArray[Any]) -> int:
    """In a fifth of the time that ``array.ctypes`` takes."""
    return ctypes.addressof(ctypes.c_char.from_buffer(cast(bytearray, array)))


def _tensor_address(tensor: Array, operand: Operand) -> int:
    _check_shape(tensor, operand)
    torch = sys.modules["torch"]
    if tensor.dtype is not torch.float32:
        raise ValueError(f"{operand.name} must be float32, got {tensor.dtype}")
    if not tensor.is_cpu:
        raise ValueError(f"{operand.name} must be on the CPU, got a tensor on {tensor.device}")
    if tensor.layout is not torch.strided:
        raise ValueError(f"{operand.name} must be a dense tensor, got {tensor.layout}")
    if not tensor.is_contiguous():
        raise ValueError(f"{operand.name} must be C-contiguous, got strides {tuple(tensor.stride())}")
    address: int = tensor.data_ptr()
    return address


def _check_shape(array: Array, operand: Operand) -> None:
    if array.shape not in operand.shapes:
        allowed = " or ".join(map(str, operand.shapes))
        raise ValueError(f"{operand.name} must have shape {allowed}, got {tuple(array.shape)}")
