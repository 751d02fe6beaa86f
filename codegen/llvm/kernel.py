"""Compiled programs as Python callables."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.arrays import (
    Array,
    address_of,
    aligned_zeros,
    empty_like_inputs,
    is_tensor,
    require_writable,
)
from codegen.llvm.native import NativeCode
from codegen.llvm.signature import Signature, num_elements
from codegen.target import Target


@dataclass(frozen=True, eq=False)
class Kernel:
    """A program compiled for a target. ``loops`` is None for one that was loaded from a folder.

    Arguments are C-contiguous float32 NumPy arrays or CPU torch tensors of the program's shapes;
    anything else is a ValueError. Results are of the same kind.
    """

    signature: Signature
    target: Target
    native: NativeCode
    text: str
    loops: LoopProgram | None = None

    def __call__(self, *arrays: Array, **named: Array) -> Array:
        """The output for inputs given in the program's order or by name; packs constants each time."""
        inputs = self.signature.of_scope(Scope.INPUT)
        if len(arrays) > len(inputs):
            raise ValueError(f"{self.signature.symbol} takes {len(inputs)} inputs, got {len(arrays)}")
        operands = {buffer.name: array for buffer, array in zip(inputs, arrays, strict=False)}
        twice = sorted(operands.keys() & named.keys())
        if twice:
            raise ValueError(f"{twice[0]} is given twice, by position and by name")
        bound = BoundKernel(self, {**operands, **named})
        if bound.free:
            raise ValueError(f"{self.signature.symbol} needs a value for {bound.free[0].name}")
        return bound.run()

    def bind(self, **operands: Array) -> BoundKernel:
        """Fix some inputs (weights): they are packed now, once, if the program packs them."""
        return BoundKernel(self, operands)


class BoundKernel:
    """A kernel with some inputs fixed, and a workspace of its own; not for several threads at once.

    ``free`` are the inputs that each run takes, in the program's order.
    """

    def __init__(self, kernel: Kernel, operands: Mapping[str, Array]) -> None:
        signature = kernel.signature
        inputs = signature.of_scope(Scope.INPUT)
        unknown = sorted(operands.keys() - {buffer.name for buffer in inputs})
        if unknown:
            allowed = ", ".join(buffer.name for buffer in inputs)
            raise ValueError(f"{signature.symbol} has no input {unknown[0]}, only {allowed}")
        self.kernel = kernel
        self.free = tuple(buffer for buffer in inputs if buffer.name not in operands)
        self.output = signature.of_scope(Scope.OUTPUT)[0]
        self._pointers = (ctypes.c_void_p * len(signature.arguments))()
        self._args = ctypes.addressof(self._pointers)
        self._run = kernel.native.run
        self._workspace: list[NDArray[np.float32]] = []
        self._held: list[Array] = [None] * len(signature.arguments)
        positions = {buffer.name: position for position, buffer in enumerate(signature.arguments)}
        self._free_places = tuple((positions[buffer.name], buffer) for buffer in self.free)
        self._output_position = positions[self.output.name]
        self._output_bytes = 4 * num_elements(self.output)
        self._input_places = tuple((positions[b.name], b.name, 4 * num_elements(b)) for b in inputs)
        self._operands = tuple(operands.values())
        for position, buffer in enumerate(signature.arguments):
            if buffer.name in operands:
                self._place(position, buffer, operands[buffer.name])
            elif buffer.scope not in (Scope.INPUT, Scope.OUTPUT):
                self._workspace.append(aligned_zeros(signature.allocated_elements(buffer)))
                self._pointers[position] = self._workspace[-1].ctypes.data
        packs = bool(signature.prepack_inputs)
        self._packs_each_run = packs and not set(signature.prepack_inputs) <= operands.keys()
        if packs and not self._packs_each_run:
            kernel.native.prepack(self._args)

    def run(self, *arrays: Array, out: Array | None = None) -> Array:
        """The output for the free inputs, written to ``out`` if given (which must not overlap them)."""
        result = self._set(arrays, out)
        if self._packs_each_run:
            self.kernel.native.prepack(self._args)
        self._run(self._args)
        return result

    def prepare(self, *arrays: Array, out: Array) -> Callable[[], None]:
        """A call without arguments for these very arrays, valid until another run of this object.

        The cheapest call from Python: nothing is checked again.
        """
        self._set(arrays, out)
        if self._packs_each_run:
            self.kernel.native.prepack(self._args)
        run, args = self._run, self._args

        # The default keeps arrays and workspace alive for as long as the call itself.
        def call(owner: BoundKernel = self) -> None:
            run(args)

        return call

    def time_calls(self, num_calls: int, *arrays: Array, out: Array | None = None) -> float:
        """Seconds that ``num_calls`` calls in a row take, in a native loop.

        Raises:
            ValueError: if ``num_calls`` is not positive.
        """
        if num_calls < 1:
            raise ValueError(f"num_calls must be positive, got {num_calls}")
        self._set(arrays, out)
        if self._packs_each_run:
            self.kernel.native.prepack(self._args)
        start = time.perf_counter()
        self.kernel.native.bench(self._args, num_calls)
        return time.perf_counter() - start

    def _set(self, arrays: tuple[Array, ...], out: Array | None) -> Array:
        """Put addresses in the argument array; an array seen last time is not checked again."""
        if len(arrays) != len(self._free_places):
            names = ", ".join(buffer.name for buffer in self.free) or "no input"
            raise ValueError(f"this kernel takes {names}, got {len(arrays)} arrays")
        if out is None:
            out = empty_like_inputs(self.output, arrays or self._operands)
        held = self._held
        changed = False
        for (position, buffer), array in zip(self._free_places, arrays, strict=True):
            # A held NumPy array cannot be reshaped to other memory; a tensor can, so it is looked at again.
            if array is not held[position] or is_tensor(array):
                self._place(position, buffer, array)
                changed = True
        position = self._output_position
        if out is not held[position] or is_tensor(out):
            self._place(position, self.output, out)
            require_writable(out, self.output)
            changed = True
        if changed:
            self._check_overlap()
        return out

    def _place(self, position: int, buffer: Buffer, array: Array) -> None:
        self._pointers[position] = address_of(array, buffer)
        self._held[position] = array

    def _check_overlap(self) -> None:
        pointers = self._pointers
        start = pointers[self._output_position] or 0
        end = start + self._output_bytes
        for position, name, num_bytes in self._input_places:
            first = pointers[position] or 0
            if first < end and start < first + num_bytes:
                self._held[self._output_position] = None
                raise ValueError(f"out must not overlap the input {name}")
