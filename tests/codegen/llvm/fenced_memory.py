"""Run an operator's kernels on an input between two inaccessible pages, in a process apart.

A read outside the input ends the process with a signal.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from numpy.typing import NDArray

from codegen.llvm.build import compile_program
from codegen.ops import Conv2d, Matmul, make_inputs, tolerance
from codegen.schedule import build_space
from tests.codegen.llvm.loop_building import runnable_target

PAGE = mmap.PAGESIZE


def fenced(array: NDArray[np.float32], at_end: bool) -> NDArray[np.float32]:
    """A copy that starts, or ends, at a page boundary beyond which nothing may be touched."""
    num_pages = -(-array.nbytes // PAGE)
    block = mmap.mmap(-1, (num_pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    start = PAGE + (num_pages * PAGE - array.nbytes if at_end else 0)
    copy = np.frombuffer(block, dtype=np.float32, count=array.size, offset=start).reshape(array.shape)
    copy[...] = array
    protect = ctypes.CDLL(None).mprotect
    for fence in (address, address + (num_pages + 1) * PAGE):
        if protect(ctypes.c_void_p(fence), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError("mprotect failed")
    return copy


def depthwise(width: int, padding: int) -> Conv2d:
    """Every second pixel of rows, padded or not."""
    return Conv2d(
        height=5, width=width, in_channels=3, out_channels=3, groups=3, stride=2, padding=padding, kernel=3
    )


def matmul(rows: int, columns: int) -> Matmul:
    """Rows and columns that register tiles do not divide."""
    return Matmul(m=rows, k=19, n=columns)


def plain(width: int, channels: int) -> Conv2d:
    """What Winograd's algorithm computes as well, in tiles and vectors with tails."""
    return Conv2d(height=6, width=width, in_channels=channels, out_channels=11, padding=1)


def main(lanes: int, operator: Conv2d | Matmul) -> None:
    target = runnable_target(lanes)
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(0)
    inputs = make_inputs(operator, rng)
    expected = operator.reference(inputs)
    first, weights = space.program.inputs
    candidates = space.sample(3 * len(space.sketches), rng)
    for row in range(len(candidates)):
        kernel = compile_program(space.lower(candidates, row), target)
        errors = space.errors(space.named(candidates, row))
        rtol, atol = tolerance(operator.program(), errors=errors)
        run = kernel.bind(**{weights.name: inputs[weights.name].reshape(weights.shape)})
        for at_end in (False, True):
            actual = run(fenced(inputs[first.name].reshape(first.shape), at_end))
            np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=rtol, atol=atol)


if __name__ == "__main__":
    make = {"depthwise": depthwise, "matmul": matmul, "plain": plain}[sys.argv[1]]
    lanes, *sizes = map(int, sys.argv[2:])
    main(lanes, make(*sizes))
