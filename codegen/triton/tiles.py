"""Matrix products of a sketch's kernels as arithmetic on its knobs: ``layout`` for many candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Expr, InRange, Select, walk
from codegen.ir.loops import If, Loop, LoopKind, LoopProgram, Node, Scope, Store, row_major_strides
from codegen.ir.trace import compile_arithmetic
from codegen.schedule.sketch import Sketch
from codegen.triton.layout import match_product, plain_load
from codegen.triton.normal_form import is_tensor_loop


@dataclass(frozen=True)
class ProductTile:
    """A matrix product of one kernel; each field has shape (N,).

    ``iterations`` are those of the loops around it, together. ``left_odd`` and ``right_odd`` are 0 where
    neighbours along the operand's contiguous loop lie in aligned pairs of elements in memory, whatever the
    loops around say, and what masks them changes from pair to pair alone. ``left_run`` and ``right_run``
    are the elements of that loop, 1 where none is contiguous. ``is_partial`` is 1 where the result goes to
    a workspace, else 0.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depth: NDArray[np.int64]
    iterations: NDArray[np.int64]
    left_odd: NDArray[np.int64]
    right_odd: NDArray[np.int64]
    left_run: NDArray[np.int64]
    right_run: NDArray[np.int64]
    is_partial: NDArray[np.int64]


class SketchTiles:
    """The matrix products of a sketch."""

    def __init__(self, sketch: Sketch) -> None:
        outputs = [output for product in _products(sketch.recorded) for output in product]
        self._num = len(outputs) // len(fields(ProductTile))
        self._compute = compile_arithmetic(outputs, tuple(knob.name for knob in sketch.knobs))

    def __call__(self, values: Mapping[str, NDArray[np.int64]]) -> tuple[ProductTile, ...]:
        """One tile per product, for the knobs' values, each of shape (N,)."""
        if not self._num:
            return ()
        columns = self._compute(values).T.astype(np.int64)
        return tuple(ProductTile(*part) for part in np.split(columns, self._num))


def _products(loops: LoopProgram) -> Iterator[tuple[Int, ...]]:
    for nest in loops.body:
        stores = list(_stores((nest,), ()))
        is_partial = any(loops.buffer(store.buffer).scope is Scope.GLOBAL for store, _ in stores)
        for store, path in stores:
            vectors = {loop.variable: loop.extent for loop in path if is_tensor_loop(loop)}
            product = match_product(store, tuple(vectors))
            if product is None or loops.buffer(store.buffer).scope is not Scope.REGISTER:
                continue
            sides = [_Side(loops, path, vectors, expr) for expr in (product.left, product.right)]
            yield (
                *(_times([vectors[name] for name in names]) for names in product.dims),
                _times([loop.extent for loop in path if loop.kind is LoopKind.SERIAL]),
                *(side.odd() for side in sides),
                *(side.run() for side in sides),
                int(is_partial),
            )


def _stores(nodes: Sequence[Node], path: tuple[Loop, ...]) -> Iterator[tuple[Store, tuple[Loop, ...]]]:
    for node in nodes:
        if isinstance(node, Store):
            yield node, path
        elif isinstance(node, If):
            yield from _stores((*node.then, *node.otherwise), path)
        else:
            yield from _stores(node.body, (*path, node))


@dataclass(frozen=True)
class _Side:
    """One factor inside its loops."""

    loops: LoopProgram
    path: tuple[Loop, ...]
    vectors: Mapping[str, Int]
    expr: Expr

    def run(self) -> Int:
        """Elements of the loop along which memory is contiguous, 1 if there is none or more than a load."""
        contiguous = self._contiguous()
        return 1 if contiguous is None else self.vectors[contiguous]

    def odd(self) -> Int:
        """Zero where all that should be even is: a sum of remainders."""
        contiguous = self._contiguous()
        if contiguous is None:
            return 1
        conditions = [c for c in self._conditions() if contiguous in c.index.variables]
        guards = [g for loop in self.path for g in loop.guards if contiguous in g.index.variables]
        numbers: list[Int] = [guard.bound for guard in guards]
        for condition in conditions:
            numbers += [condition.low, condition.high]
        for index in (self._address(), *(condition.index for condition in conditions)):
            numbers += [index.constant, *(step for name, step in index.terms if name != contiguous)]
        total: Int = 0
        for number in numbers:
            total = total + (number - 2 * (number // 2))
        return total

    def _contiguous(self) -> str | None:
        if plain_load(self.expr) is None:
            return None
        steps = self._address().terms
        unit = [n for n, step in steps if n in self.vectors and isinstance(step, int) and step == 1]
        return unit[0] if unit else None

    def _address(self) -> Affine:
        loaded = plain_load(self.expr)
        assert loaded is not None
        load = loaded[0]
        result = Affine()
        for index, stride in zip(load.index, row_major_strides(self.loops.buffer(load.buffer).shape)):
            result = result + index * stride
        return result

    def _conditions(self) -> list[InRange]:
        return [c for part in walk(self.expr) if isinstance(part, Select) for c in part.conditions]


def _times(values: Sequence[Int]) -> Int:
    result: Int = 1
    for value in values:
        result = result * value
    return result
