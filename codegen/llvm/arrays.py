"""Arguments of a kernel: NumPy arrays or torch tensors, checked, as addresses."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.loops import Buffer

Array: TypeAlias = Any
"""A C-contiguous float32 ``numpy.ndarray``, or such a ``torch.Tensor`` on the CPU."""


def is_tensor(array: Array) -> bool:
    """Whether an array is a torch tensor; torch is not imported to find out."""
    return type(array).__module__.startswith("torch")


def address_of(array: Array, buffer: Buffer) -> int:
    """Address of the first element.

    Raises:
        ValueError: if kind, shape, element type or memory order are not what the kernel needs.
    """
    if is_tensor(array):
        return _tensor_address(array, buffer)
    if not isinstance(array, np.ndarray):
        kind = type(array).__name__
        raise ValueError(f"{buffer.name} must be a numpy array or a torch tensor, got {kind}")
    _check_shape(array, buffer)
    if array.dtype != np.float32:
        raise ValueError(f"{buffer.name} must be float32, got {array.dtype}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{buffer.name} must be C-contiguous, got strides {array.strides}")
    if not array.flags.aligned:
        raise ValueError(f"{buffer.name} must start at a multiple of 4 bytes")
    address: int = array.ctypes.data
    return address


def require_writable(array: Array, buffer: Buffer) -> None:
    """ValueError for a read-only array."""
    if not is_tensor(array) and not array.flags.writeable:
        raise ValueError(f"{buffer.name} must be writable")


def empty_like_inputs(buffer: Buffer, inputs: tuple[Array, ...]) -> Array:
    """A new output of the same kind as the inputs: a tensor if any of them is one."""
    if any(is_tensor(array) for array in inputs):
        return sys.modules["torch"].empty(buffer.shape)
    return np.empty(buffer.shape, np.float32)


def aligned_zeros(num_elements: int) -> NDArray[np.float32]:
    """Zeroed floats that start on a cache line."""
    raw = np.zeros(num_elements + 16, np.float32)
    start = (-raw.ctypes.data % 64) // 4
    return raw[start : start + num_elements]


def _tensor_address(tensor: Array, buffer: Buffer) -> int:
    _check_shape(tensor, buffer)
    if tensor.dtype is not sys.modules["torch"].float32:
        raise ValueError(f"{buffer.name} must be float32, got {tensor.dtype}")
    if not tensor.is_cpu:
        raise ValueError(f"{buffer.name} must be on the CPU, got a tensor on {tensor.device}")
    if not tensor.is_contiguous():
        raise ValueError(f"{buffer.name} must be C-contiguous, got strides {tuple(tensor.stride())}")
    address: int = tensor.data_ptr()
    return address


def _check_shape(array: Array, buffer: Buffer) -> None:
    if array.shape != buffer.shape:
        raise ValueError(f"{buffer.name} must have shape {buffer.shape}, got {tuple(array.shape)}")
