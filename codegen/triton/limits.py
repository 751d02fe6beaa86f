"""Which candidates fit a GPU, by arithmetic on their knobs, before any compilation.

Shared memory is what Triton 3.9 allocates for matrix products, read off its results; all else that
sketches of this project put there stays far below every limit. With S stages and a loop around the
product:

* operands that ``cp.async`` can copy (4 bytes or more at a time) have S - 1 buffers; where a warp group
  multiplies out of shared memory (Hopper) S, unless the product takes another format than memory has:
  then the right operand has one buffer more, in that format;
* other operands have one, in the format of the product.

Without stages, or without a loop, operands pass through shared memory once: on NVIDIA together, on AMD
one after the other, and in the format of memory where the product takes another. On NVIDIA the result
passes through as well on its way to memory, once the operands are gone; 128 elements a thread at a time
are an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_device import GpuDevice, gpu_device
from codegen.gpu_target import GpuTarget
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from codegen.triton.layout import MIN_DOT_SIZE
from codegen.triton.tiles import ProductTile, SketchTiles

_COPIED_BYTES = 4
"""The least that ``cp.async`` and its counterpart of AMD copy for a thread."""

_STORED_ELEMENTS = 128
"""Elements of a result for each thread that pass through shared memory at a time, at most."""


class Limits:
    """Predicts what candidates of one space need, and whether the target's device has it."""

    def __init__(self, space: Space[GpuTarget]) -> None:
        self.space = space
        self.device: GpuDevice = gpu_device(space.target.device)
        self._tiles: dict[int, SketchTiles] = {}

    def fits(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Shape (N,): whether a program of each candidate can run at all."""
        has_memory = self.shared_bytes(candidates) <= self.device.shared_bytes_per_block
        return np.asarray(has_memory & (self.num_threads(candidates) <= self.device.max_threads_per_block))

    def complaint(self, candidates: Candidates, row: int) -> str | None:
        """Why a candidate does not fit; None if it does."""
        one = Candidates(candidates.sketches[row : row + 1], candidates.positions[row : row + 1])
        if self.fits(one)[0]:
            return None
        return (
            f"{self.num_threads(one)[0]} threads and {self.shared_bytes(one)[0]} bytes of shared memory are "
            f"more than the {self.device.max_threads_per_block} threads and "
            f"{self.device.shared_bytes_per_block} bytes that a program may have on {self.device.name}"
        )

    def num_threads(self, candidates: Candidates) -> NDArray[np.int64]:
        """Shape (N,), of one program."""
        result = np.zeros(len(candidates), dtype=np.int64)
        for number, rows in self.space.by_sketch(candidates):
            values = self.space.values(number, candidates.positions[rows])
            result[rows] = values["num_warps"] * self.space.target.warp_size
        return result

    def shared_bytes(self, candidates: Candidates) -> NDArray[np.int64]:
        """Shape (N,), of one program of the kernel that needs most."""
        result = np.zeros(len(candidates), dtype=np.int64)
        for rows, values, tiles in self._products(candidates):
            for tile in tiles:
                result[rows] = np.maximum(result[rows], product_bytes(tile, values, self.space.target))
        return result

    def is_pipelined(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Shape (N,): whether all operands of all products are copied while earlier ones are multiplied.

        Without a loop around a product there are no earlier ones.
        """
        result = np.ones(len(candidates), dtype=np.bool_)
        for rows, values, tiles in self._products(candidates):
            for tile in tiles:
                left, right = _copies(tile, values, self.space.target)
                result[rows] &= left & right & (values["num_stages"] > 1) & (tile.iterations > 1)
        return result

    def scattered_elements(self, candidates: Candidates) -> NDArray[np.float64]:
        """Shape (N,): elements of operands of products that a program loads otherwise, in all iterations."""
        result = np.zeros(len(candidates))
        for rows, values, tiles in self._products(candidates):
            for tile in tiles:
                left, right = _copies(tile, values, self.space.target)
                sizes = np.where(left, 0, tile.rows * tile.depth) + np.where(
                    right, 0, tile.depth * tile.columns
                )
                result[rows] += sizes * tile.iterations
        return result

    def _products(
        self, candidates: Candidates
    ) -> Iterator[tuple[NDArray[np.int64], Mapping[str, NDArray[np.int64]], tuple[ProductTile, ...]]]:
        """Of each sketch among the candidates: their rows, values of knobs, and matrix products."""
        for number, rows in self.space.by_sketch(candidates):
            if number not in self._tiles:
                self._tiles[number] = SketchTiles(self.space.sketches[number])
            values = self.space.values(number, candidates.positions[rows])
            yield rows, values, self._tiles[number](values)


def product_bytes(
    tile: ProductTile, values: Mapping[str, NDArray[np.int64]], target: GpuTarget
) -> NDArray[np.int64]:
    """Bytes of shared memory for a matrix product; knobs and result of shape (N,)."""
    stages, threads = values["num_stages"], values["num_warps"] * target.warp_size
    is_amd = target.backend == "hip"
    stored, multiplied = _bytes_of_formats(target)
    left, right = tile.rows * tile.depth, tile.depth * tile.columns
    copies = _copies(tile, values, target)
    by_group = _multiplies_by_group(tile, values["num_warps"], target)
    buffers = np.where(by_group & (stored == multiplied), stages, stages - 1)
    staged = sum(
        np.where(is_copied, buffers * size * stored, size * multiplied)
        for is_copied, size in zip(copies, (left, right), strict=True)
    )
    staged = staged + np.where(by_group & (stored != multiplied), right * multiplied, 0)
    largest = np.maximum(left, right)
    once = largest * multiplied if is_amd else (left + right) * multiplied
    if stored != multiplied:
        once = np.maximum(once, largest * stored)
    is_staged = (stages > 1) & (tile.iterations > 1)
    if is_amd:
        is_staged &= copies[0] | copies[1]
    needed = np.where(is_staged, staged, once)
    if not is_amd:
        result = np.minimum(tile.rows * tile.columns, _STORED_ELEMENTS * threads)
        needed = np.maximum(needed, result * np.where(tile.is_partial, 4, stored))
    is_product = np.minimum(np.minimum(tile.rows, tile.columns), tile.depth) >= MIN_DOT_SIZE
    return np.asarray(np.where(is_product, needed, 0), dtype=np.int64)


def _bytes_of_formats(target: GpuTarget) -> tuple[int, int]:
    """Of an element in memory, and of one as products take it."""
    precision = target.precision
    if precision.storage != "float32":
        return 2, 2
    return 4, 2 if precision.dot_input in ("float16", "bfloat16") else 4


def _copies(
    tile: ProductTile, values: Mapping[str, NDArray[np.int64]], target: GpuTarget
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether asynchronous copies bring the left and the right operand, each of shape (N,)."""
    threads, (stored, _) = values["num_warps"] * target.warp_size, _bytes_of_formats(target)
    left, right = tile.rows * tile.depth, tile.depth * tile.columns
    return (
        _is_copied(left, tile.left_run, tile.left_odd, threads, stored),
        _is_copied(right, tile.right_run, tile.right_odd, threads, stored),
    )


def _is_copied(
    size: NDArray[np.int64],
    run: NDArray[np.int64],
    odd: NDArray[np.int64],
    threads: NDArray[np.int64],
    stored: int,
) -> NDArray[np.bool_]:
    """Whether each thread finds enough neighbours in memory for an asynchronous copy."""
    least = _COPIED_BYTES // stored
    return np.asarray((least == 1) | ((odd == 0) & (run >= least) & (size >= least * threads)))


def _multiplies_by_group(
    tile: ProductTile, num_warps: NDArray[np.int64], target: GpuTarget
) -> NDArray[np.bool_]:
    """Whether four warps together multiply out of shared memory (``wgmma``), which takes 64 rows."""
    precision = target.precision
    is_narrow = precision.storage != "float32" or precision.dot_input != "ieee"
    is_hopper = target.backend == "cuda" and target.arch == "sm_90"
    return np.asarray((tile.rows >= 64) & (num_warps % 4 == 0) & (is_hopper and is_narrow))
