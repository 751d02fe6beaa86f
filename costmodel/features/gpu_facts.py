"""What the kernels of a GPU sketch do, recorded once as arithmetic on its knobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GpuTarget
from codegen.ir.arithmetic import Int, ceil_div, maximum
from codegen.ir.expression import count_flops
from codegen.ir.loops import Loop, LoopKind, LoopProgram, Scope
from codegen.ir.trace import compile_arithmetic, ratio
from codegen.schedule.sketch import Sketch
from codegen.triton.layout import match_product
from codegen.triton.normal_form import is_wide
from costmodel.features.accesses import (
    ELEMENT_BYTES,
    Footprints,
    product,
    stride,
    total,
    traffic,
    vectors,
)
from costmodel.features.tree import Access, LeafNode, build_tree

FACTS = (
    "programs",
    "steps",
    "flops",
    "matrix_flops",
    "asked_bytes",
    "l2_bytes",
    "memory_bytes",
    "operand_bytes",
    "tile_elements",
)
"""Of one kernel: its grid, serial iterations that read memory, flops of all and of matrix products, bytes
asked for and those of the sectors that hold them, bytes beyond L2, bytes of operands of matrix products,
elements that a program holds in registers."""

_SECTOR_BYTES = 32
"""What a GPU reads from L2 at least."""


class SketchFacts:
    """The facts of a sketch's kernels, recorded once as arithmetic on its knobs."""

    def __init__(self, sketch: Sketch, target: GpuTarget) -> None:
        loops = sketch.recorded
        kernels = [_kernel_facts(replace(loops, body=(nest,), prepack=()), target) for nest in loops.body]
        self.num_kernels = len(kernels)
        outputs = [kernel[name] for kernel in kernels for name in FACTS]
        self._compute = compile_arithmetic(outputs, tuple(knob.name for knob in sketch.knobs))

    def __call__(self, values: Mapping[str, NDArray[np.int64]]) -> list[dict[str, NDArray[np.float64]]]:
        """Per kernel, the facts by name, each of shape (N,)."""
        columns = self._compute(values).T
        return [dict(zip(FACTS, part, strict=True)) for part in np.split(columns, self.num_kernels)]


def _kernel_facts(loops: LoopProgram, target: GpuTarget) -> dict[str, Int]:
    tree, footprints = build_tree(loops), Footprints(loops)
    l2_bytes = gpu_device(target.device).l2_bytes
    scale = 1 if target.precision.storage == "float32" else 2
    leaves = tree.leaves
    asked, sectors = _bytes(loops, leaves, scale)
    return {
        "programs": product(loop.extent for loop in leaves[0].place.path if loop.kind is LoopKind.PARALLEL),
        "steps": total(_serial(leaf) for leaf in leaves if _reads_memory(loops, leaf)),
        "flops": total(_flops(leaf) for leaf in leaves),
        "matrix_flops": total(_flops(leaf) for leaf in leaves if _is_product(loops, leaf)),
        "asked_bytes": asked,
        "l2_bytes": sectors,
        "memory_bytes": total(
            ratio(traffic(footprints, leaf, (l2_bytes * scale,))[0], scale) for leaf in leaves
        ),
        "operand_bytes": total(_operand_bytes(leaf, scale) for leaf in leaves if _is_product(loops, leaf)),
        "tile_elements": _tile_elements(loops, leaves),
    }


def _bytes(loops: LoopProgram, leaves: Sequence[LeafNode], scale: int) -> tuple[Int, Int]:
    """Bytes of memory that all programs ask for, and those of the sectors that hold them."""
    asked: list[Int] = []
    sectors: list[Int] = []
    for leaf in leaves:
        runs = product(loop.extent for loop in leaf.place.path)
        for access in leaf.accesses:
            buffer = loops.buffer(access.buffer)
            if buffer.scope is Scope.REGISTER:
                continue
            size = ELEMENT_BYTES if is_wide(buffer) else ELEMENT_BYTES // scale
            elements = runs * vectors(access, leaf.merged, 1)
            run = _run(loops, leaf, access)
            asked.append(elements * size)
            sectors.append(ratio(elements * (_SECTOR_BYTES * ceil_div(run * size, _SECTOR_BYTES)), run))
    return total(asked), total(sectors)


def _run(loops: LoopProgram, leaf: LeafNode, access: Access) -> Int:
    """Elements next to each other along the merged loop that is contiguous in memory."""
    buffer = loops.buffer(access.buffer)
    steps = {loop.variable: stride(buffer, access, loop.variable) for loop in leaf.merged}
    unit = [
        loop.extent
        for loop in leaf.merged
        if isinstance(steps[loop.variable], int) and steps[loop.variable] == 1
    ]
    return unit[0] if unit else 1


def _tile_elements(loops: LoopProgram, leaves: Sequence[LeafNode]) -> Int:
    """Elements of all tensors in registers; what is only passing on its way to memory needs no more."""
    held: dict[str, Int] = {}
    passing: Int = 1
    for leaf in leaves:
        if loops.buffer(leaf.store.buffer).scope is Scope.REGISTER:
            held.setdefault(leaf.store.buffer, vectors(leaf.accesses[-1], leaf.merged, 1))
        else:
            passing = maximum(passing, product(loop.extent for loop in leaf.merged))
    return maximum(total(held.values()), passing)


def _operand_bytes(leaf: LeafNode, scale: int) -> Int:
    """Both operands of a matrix product, in all its iterations."""
    tiles = total(vectors(access, leaf.merged, 1) for access in leaf.accesses[:-1])
    return product([loop.extent for loop in leaf.place.path] + [tiles, ELEMENT_BYTES // scale])


def _serial(leaf: LeafNode) -> Int:
    return product(loop.extent for loop in leaf.place.path if loop.kind is not LoopKind.PARALLEL)


def _reads_memory(loops: LoopProgram, leaf: LeafNode) -> bool:
    return any(loops.buffer(access.buffer).scope is not Scope.REGISTER for access in leaf.accesses[:-1])


def _flops(leaf: LeafNode) -> Int:
    loops: tuple[Loop, ...] = (*leaf.place.path, *leaf.merged)
    each = count_flops(leaf.store.value) + (leaf.store.reducer is not None)
    return product([*(loop.extent for loop in loops), each])


def _is_product(loops: LoopProgram, leaf: LeafNode) -> bool:
    names = [loop.variable for loop in leaf.merged]
    return (
        loops.buffer(leaf.store.buffer).scope is Scope.REGISTER
        and match_product(leaf.store, names) is not None
    )
