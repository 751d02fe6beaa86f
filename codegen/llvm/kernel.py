"""Compiled programs as Python callables."""

from __future__ import annotations

import ctypes
import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codegen.ir.loops import LoopProgram, Scope
from codegen.llvm.arrays import (
    Array,
    address_of,
    aligned_zeros,
    empty_like_inputs,
    is_tensor,
    require_writable,
    same_memory,
)
from codegen.llvm.native import NativeCode
from codegen.llvm.signature import Signature
from codegen.target import Target


@dataclass(frozen=True, eq=False)
class Kernel:
    """A program compiled for a target. ``loops`` is None for one that was loaded from a folder.

    Arguments are C-contiguous float32 NumPy arrays or CPU torch tensors of the user's shapes (or the
    program's, which are the same bytes); anything else is a ValueError. Results have the user's shape and
    are of the same kind: a tensor if one was passed.
    """

    signature: Signature
    target: Target
    native: NativeCode
    loops: LoopProgram | None = None

    def __call__(self, *arrays: Array, **named: Array) -> Array:
        """The output for inputs given in the program's order or by name; packs constants each time."""
        inputs = self.signature.inputs
        if len(arrays) > len(inputs):
            raise ValueError(f"{self.signature.symbol} takes {len(inputs)} inputs, got {len(arrays)}")
        operands = {operand.name: array for operand, array in zip(inputs, arrays, strict=False)}
        twice = sorted(operands.keys() & named.keys())
        if twice:
            raise ValueError(f"{twice[0]} is given twice, by position and by name")
        run = BoundKernel(self, {**operands, **named})
        if run.free:
            raise ValueError(f"{self.signature.symbol} needs a value for {run.free[0].name}")
        return run()

    def bind(self, **operands: Array) -> BoundKernel:
        """Fix some inputs (weights). Those that the program packs are packed now, once.

        The others are read from the caller's memory in each call.
        """
        return BoundKernel(self, operands)

    def with_user_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Kernel:
        """The same code for callers who know inputs and output by other shapes of the same bytes.

        Raises:
            ValueError: if a name is neither an input nor the output, or a shape has another size.
        """
        return replace(self, signature=replace(self.signature, user_shapes=dict(shapes)))


class BoundKernel:
    """A kernel with some inputs fixed, and a workspace of its own; not for several threads at once.

    ``free`` are the inputs that each call takes, in the program's order.
    """

    def __init__(self, kernel: Kernel, operands: Mapping[str, Array]) -> None:
        signature = kernel.signature
        self._inputs = signature.inputs
        names = [operand.name for operand in self._inputs]
        unknown = sorted(operands.keys() - set(names))
        if unknown:
            raise ValueError(f"{signature.symbol} has no input {unknown[0]}, only {', '.join(names)}")
        self.kernel = kernel
        self.free = tuple(operand for operand in self._inputs if operand.name not in operands)
        self.output = signature.output
        self._pointers = (ctypes.c_void_p * len(signature.arguments))()
        self._args = ctypes.addressof(self._pointers)
        self._run = kernel.native.run
        self._workspace: list[NDArray[np.float32]] = []
        self._bound = tuple(map(same_memory, operands.values()))
        self._last: tuple[Array, ...] = ()
        for operand in self._inputs:
            if operand.name in operands:
                self._pointers[operand.position] = address_of(operands[operand.name], operand)
        for position, buffer in enumerate(signature.arguments):
            if buffer.scope not in (Scope.INPUT, Scope.OUTPUT):
                self._workspace.append(aligned_zeros(signature.allocated_elements(buffer)))
                self._pointers[position] = self._workspace[-1].ctypes.data
        packs = bool(signature.prepack_inputs)
        self._packs_each_call = packs and not set(signature.prepack_inputs) <= operands.keys()
        if packs and not self._packs_each_call:
            kernel.native.prepack(self._args)

    def __call__(self, *arrays: Array, out: Array | None = None) -> Array:
        """The output for the free inputs, written to ``out`` if given (which must not overlap them)."""
        if out is None:
            out = empty_like_inputs(self.output.shapes[0], arrays or self._bound)
        self._set(arrays, out)
        self._run(self._args)
        return out

    def prepare(self, *arrays: Array, out: Array) -> Callable[[], None]:
        """A call without arguments for these very arrays, valid until another call of this object.

        The cheapest call from Python: nothing is checked again.
        """
        self._set(arrays, out)
        run, prepack, args = self._run, self.kernel.native.prepack, self._args
        held = (self, *map(same_memory, (*arrays, out)))

        # The defaults keep arrays and workspace alive for as long as the call itself.
        def call(held: tuple[object, ...] = held) -> None:
            run(args)

        def call_with_packing(held: tuple[object, ...] = held) -> None:
            prepack(args)
            run(args)

        return call_with_packing if self._packs_each_call else call

    def time_calls(self, num_calls: int, *arrays: Array, out: Array) -> float:
        """Seconds that ``num_calls`` calls in a row take, in a native loop; packing is not among them.

        Raises:
            ValueError: if ``num_calls`` is not positive.
        """
        if num_calls < 1:
            raise ValueError(f"num_calls must be positive, got {num_calls}")
        self._set(arrays, out)
        start = time.perf_counter()
        self.kernel.native.bench(self._args, num_calls)
        return time.perf_counter() - start

    def _set(self, arrays: tuple[Array, ...], out: Array) -> None:
        """Put addresses in the argument array, and pack what is not bound."""
        given = (*arrays, out)
        if len(given) != len(self._last) or not all(map(operator.is_, given, self._last)):
            self._last = ()
            self._check(arrays, out)
            # A held NumPy array cannot be moved to other memory; a tensor can, so it is looked at again.
            self._last = () if any(map(is_tensor, given)) else given
        if self._packs_each_call:
            self.kernel.native.prepack(self._args)

    def _check(self, arrays: tuple[Array, ...], out: Array) -> None:
        if len(arrays) != len(self.free):
            names = ", ".join(operand.name for operand in self.free) or "no input"
            raise ValueError(f"this kernel takes {names}, got {len(arrays)} arrays")
        pointers, output = self._pointers, self.output
        for operand, array in zip(self.free, arrays):
            pointers[operand.position] = address_of(array, operand)
        start = address_of(out, output)
        require_writable(out, output)
        pointers[output.position] = start
        for operand in self._inputs:
            first = pointers[operand.position] or 0
            if first < start + output.num_bytes and start < first + operand.num_bytes:
                raise ValueError(f"out must not overlap the input {operand.name}")
