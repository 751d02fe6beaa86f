"""Which vectorized loops make which dimension of a kernel's tensors.

Each loop is a dimension of its own, but for matrix products: the loops that number rows, columns or
depth of a product are merged into one dimension each, because ``tl.dot`` takes matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen.ir.closures import known_int
from codegen.ir.expression import Binary, Constant, Expr, Load, Select, loads, walk
from codegen.ir.loops import Buffer, If, Loop, Scope, Store
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes
from codegen.triton.normal_form import Nest, accesses, is_tensor_loop, padded_size

MIN_DOT_SIZE = 16
"""Smaller matrices are multiplied by vector arithmetic; some GPUs would refuse them."""


@dataclass(frozen=True)
class Dim:
    """A dimension of tensors: one loop, or several laid out row by row. Sizes are powers of two."""

    variables: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Dot:
    """A matrix product: ``left`` has dimensions (rows, depth), ``right`` (depth, columns)."""

    left: Expr
    right: Expr
    rows: Dim
    columns: Dim
    depth: Dim


@dataclass(frozen=True)
class Layout:
    """Dimensions of one kernel: of each vectorized loop, of each tensor, and its matrix products.

    ``tensors`` maps a register buffer to its dimensions as groups of its index positions.
    """

    dims: dict[str, Dim]
    tensors: dict[str, tuple[tuple[int, ...], ...]]
    dots: dict[Store, Dot]

    def of(self, variables: Sequence[str]) -> tuple[Dim, ...]:
        """The dimensions of some loops, each once, in their order."""
        return tuple(dict.fromkeys(self.dims[name] for name in variables))

    def of_tensor(self, buffer: str, access: Load | Store) -> tuple[Dim, ...]:
        """The dimensions of a tensor, called by the loops of one access."""
        dims = []
        for group in self.tensors[buffer]:
            names = tuple(access.index[d].variables[0] for d in group)
            dim = self.dims[names[0]]
            require(dim.variables == names, f"dimensions {names} of {buffer!r} are laid out in another way")
            dims.append(dim)
        return tuple(dims)


def stores_in(nodes: Nodes, around: tuple[Loop, ...] = ()) -> Iterator[tuple[Store, tuple[Loop, ...]]]:
    """Every store with the vectorized loops around it, outer first."""
    for node in nodes:
        if isinstance(node, Store):
            yield node, around
        elif isinstance(node, If):
            yield from stores_in((*node.then, *node.otherwise), around)
        else:
            yield from stores_in(node.body, (*around, node) if is_tensor_loop(node) else around)


def make_layout(nest: Nest, buffers: dict[str, Buffer]) -> Layout:
    """The dimensions of a kernel's tensors; ScheduleError if its statements do not agree on them."""
    sizes: dict[str, int] = {}
    dots: dict[Store, Dot] = {}
    stores = list(stores_in(nest.body))
    for store, around in stores:
        sizes |= {loop.variable: padded_size(known_int(loop.extent)) for loop in around}
        dot = _match_dot(store, [loop.variable for loop in around], sizes)
        if dot is not None and buffers[store.buffer].scope is Scope.REGISTER:
            dots[store] = dot
    tensors: dict[str, tuple[tuple[int, ...], ...]] = {}
    dims: dict[str, Dim] = {}
    for store, dot in dots.items():
        position = {index.variables[0]: d for d, index in enumerate(store.index) if index.terms}
        groups = tuple(tuple(position[name] for name in dim.variables) for dim in (dot.rows, dot.columns))
        known = tensors.setdefault(store.buffer, groups)
        require(known == groups, f"two matrix products lay out {store.buffer!r} in different ways")
        dims |= {name: dim for dim in (dot.rows, dot.columns, dot.depth) for name in dim.variables}
    for store, _ in stores:
        for access in accesses(store):
            if buffers[access.buffer].scope is Scope.REGISTER:
                _lay_out(access, tensors, dims, sizes)
    dims = {name: dims.get(name, Dim((name,), (size,))) for name, size in sizes.items()}
    return Layout(dims, tensors, dots)


def _lay_out(
    access: Load | Store,
    tensors: dict[str, tuple[tuple[int, ...], ...]],
    dims: dict[str, Dim],
    sizes: dict[str, int],
) -> None:
    """Note the dimensions of an accessed tensor, and merge the loops of this access as they are."""
    for index in access.index:
        is_plain = not index.terms or index.terms == ((index.variables[0], 1),)
        require(
            is_plain and index.constant == 0 and set(index.variables) <= sizes.keys(),
            f"{access.buffer!r} is held in registers, so vectorized loops alone can index it",
        )
    own = tuple((d,) for d, index in enumerate(access.index) if index.terms)
    for group in tensors.setdefault(access.buffer, own):
        names = tuple(access.index[d].variables[0] for d in group if access.index[d].terms)
        require(len(names) == len(group), f"{access.buffer!r} is indexed with fewer loops than elsewhere")
        dims.setdefault(names[0], Dim(names, tuple(sizes[name] for name in names)))
        for name in names[1:]:
            dims.setdefault(name, dims[names[0]])


@dataclass(frozen=True)
class Product:
    """A sum of products over vectorized loops: its factors, and the loops by their part in it."""

    left: Expr
    right: Expr
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    depth: tuple[str, ...]

    @property
    def dims(self) -> tuple[tuple[str, ...], ...]:
        """The loops of rows, of columns and of depth."""
        return self.rows, self.columns, self.depth


def match_product(store: Store, around: Sequence[str]) -> Product | None:
    """The store inside its vectorized loops as a matrix product of whatever size."""
    value = store.value
    if store.reducer != "sum" or not isinstance(value, Binary) or value.op != "mul":
        return None
    written = [name for index in store.index for name in index.variables]
    depth = [name for name in around if name not in written]
    left, right = (_variables(side) & {*around} for side in (value.left, value.right))
    is_product = {*depth} == left & right and left | right == {*around} and {*written} <= {*around}
    if not (is_product and depth and left - right and right - left):
        return None
    sides = [(value.left, left - right), (value.right, right - left)]
    if written[-1] in sides[0][1]:
        sides.reverse()
    rows, columns = (tuple(name for name in written if name in own) for _, own in sides)
    return Product(sides[0][0], sides[1][0], rows, columns, tuple(depth))


def _match_dot(store: Store, around: Sequence[str], sizes: dict[str, int]) -> Dot | None:
    """The store as a matrix product that is large enough for ``tl.dot``."""
    product = match_product(store, around)
    if product is None:
        return None
    dims = [Dim(names, tuple(sizes[n] for n in names)) for names in product.dims]
    if min(dim.size for dim in dims) < MIN_DOT_SIZE:
        return None
    return Dot(product.left, product.right, *dims)


def _variables(expr: Expr) -> set[str]:
    found = {name for load in loads(expr) for index in load.index for name in index.variables}
    for part in walk(expr):
        if isinstance(part, Select):
            found |= {name for condition in part.conditions for name in condition.index.variables}
    return found


def plain_load(expr: Expr) -> tuple[Load, Select | None] | None:
    """A load, alone or under a select that gives a constant elsewhere: one masked load in Triton."""
    if isinstance(expr, Load):
        return expr, None
    if isinstance(expr, Select) and isinstance(expr.then, Load) and isinstance(expr.otherwise, Constant):
        return expr.then, expr
    return None
