"""Indices and conditions as Triton arithmetic on tensors of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codegen.ir.affine import Affine
from codegen.ir.closures import known_int
from codegen.ir.expression import InRange, Select, walk
from codegen.ir.loops import Buffer, If, Scope, Store, walk_nodes
from codegen.triton.layout import Dim, Layout
from codegen.triton.names import Names, axis_of
from codegen.triton.normal_form import Nest, accesses, all_loops, is_tensor_loop, least


class Positions:
    """Text of affine arithmetic in one kernel.

    The position of a vectorized loop is a tensor such as ``m0 * BLOCK_M + tl.arange(0, BLOCK_M)``: the
    loop's own variable, and the scalars that go with it in every index. It is defined where the
    innermost of those scalars is. ``blocks`` collects the named sizes; ``taken`` are those of all
    kernels in the file.
    """

    def __init__(
        self,
        nest: Nest,
        buffers: dict[str, Buffer],
        layout: Layout,
        names: Names,
        taken: dict[str, int],
    ) -> None:
        loops = all_loops(nest)
        self.blocks: dict[str, int] = {}
        self._taken = taken
        self._layout = layout
        self._names = names
        self._extents = {name: known_int(loop.extent) for name, loop in loops.items()}
        self._grid = {loop.variable for loop in nest.grid}
        self._scalars = [name for name, loop in loops.items() if not is_tensor_loop(loop)]
        indices = list(_indices(nest, buffers))
        self._starts = {
            name: _start(name, self._extents[name], indices, self._scalars) for name in layout.dims
        }
        self._called: dict[str, str] = {}
        self._pending: dict[str, str | None] = {}

    def block(self, variable: str) -> str:
        """The named constant that is the size of a vectorized loop."""
        dim = self._layout.dims[variable]
        size = dim.sizes[dim.variables.index(variable)]
        name = f"BLOCK_{axis_of(variable).upper()}"
        while self._taken.setdefault(name, size) != size:
            name += "_"
        self.blocks[name] = size
        return name

    def size(self, dim: Dim) -> str:
        """The number of elements of a dimension."""
        return " * ".join(self.block(name) for name in dim.variables)

    def shape(self, dims: Sequence[Dim]) -> str:
        """A tuple of sizes."""
        sizes = [self.size(dim) for dim in dims]
        return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def definitions(self, variable: str | None) -> list[str]:
        """Lines that define what has been used so far and depends on that loop, on none further in.

        None stands for the start of the kernel.
        """
        mine = [text for text, place in self._pending.items() if place == variable]
        for text in mine:
            del self._pending[text]
        return [f"{self._called[text]} = {text}" for text in mine]

    def affine(self, affine: Affine, dims: Sequence[Dim], *, scalars_first: bool = False) -> str:
        """The value of an index as a sum, broadcast over the dimensions it does not depend on."""
        parts = [(name, known_int(c)) for name, c in affine.terms if name in self._layout.dims]
        rest = affine
        for name, factor in parts:
            rest = rest - (Affine(((name, 1),)) + self._starts[name]) * factor
        texts = []
        for place, dim in enumerate(dims):
            mine = [(self._position(name), c) for name, c in parts if self._layout.dims[name] == dim]
            if mine:
                texts.append(expanded(sum_text(mine), place, len(dims), is_sum=len(mine) > 1))
        scalars = sum_text([(n, known_int(c)) for n, c in rest.terms], known_int(rest.constant))
        if not texts or scalars != "0":
            texts.insert(0 if scalars_first else len(texts), scalars)
        return " + ".join(texts).replace(" + -", " - ")

    def condition(self, condition: InRange, dims: Sequence[Dim]) -> list[str]:
        """Comparisons that must hold; what always holds is left out."""
        spanned = [dim for dim in dims if set(dim.variables) & set(condition.index.variables)]
        inside = spanned if len(spanned) == 1 else dims
        text = self.affine(condition.index, inside)
        if dims and not spanned:
            # As a tensor of one element: Triton's interpreter mistakes a scalar truth value for a number
            # where it meets a tensor.
            text = f"{text} + tl.arange(0, 1)"
        checks = []
        if least(condition.index, self._extents) < known_int(condition.low):
            checks.append(f"({text} >= {condition.low})")
        checks.append(f"({text} < {condition.high})")
        if len(spanned) == 1:
            place = list(dims).index(spanned[0])
            checks = [expanded(check, place, len(dims), is_sum=False) for check in checks]
        return checks

    def _position(self, variable: str) -> str:
        dim, start = self._layout.dims[variable], self._starts[variable]
        place = dim.variables.index(variable)
        text = f"tl.arange(0, {self.size(dim)})"
        inner = " * ".join(self.block(name) for name in dim.variables[place + 1 :])
        if inner:
            text += f" // ({inner})" if "*" in inner else f" // {inner}"
        if place:
            text += f" % {self.block(variable)}"
        text = " + ".join([*self._start_texts(variable), text])
        if text not in self._called:
            self._called[text] = self._names.new(axis_of(variable))
        around = [n for n in self._scalars if n in start.variables and n not in self._grid]
        self._pending[text] = around[-1] if around else None
        return self._called[text]

    def _start_texts(self, variable: str) -> list[str]:
        """The first element of a tile, in terms of its named size where it can be."""
        block, texts = self.block(variable), []
        for name, factor in self._starts[variable].terms:
            tiles, rest = divmod(known_int(factor), self.blocks[block])
            if rest or tiles < 1:
                texts.append(sum_text([(name, known_int(factor))]))
            else:
                texts.append(f"{name} * {block}" if tiles == 1 else f"{name} * {tiles} * {block}")
        return texts


def expanded(text: str, place: int, rank: int, *, is_sum: bool) -> str:
    """A tensor of one dimension as that dimension of a tensor of ``rank`` dimensions.

    >>> expanded("m", 0, 2, is_sum=False)
    'm[:, None]'
    """
    if rank == 1:
        return text
    axes = ", ".join(":" if axis == place else "None" for axis in range(rank))
    name, *factor = text.split(" * ")
    if not is_sum and name.isidentifier():
        return " * ".join([f"{name}[{axes}]", *factor])
    return f"({text})[{axes}]" if is_sum or not text.startswith("(") else f"{text}[{axes}]"


def sum_text(terms: Sequence[tuple[str, int]], constant: int = 0) -> str:
    """A sum of multiples of names.

    >>> sum_text([("oh", 2), ("kh", -1)], -3)
    'oh * 2 - kh - 3'
    """
    text = ""
    for name, factor in [*((n, c) for n, c in terms if c), *([("", constant)] if constant else [])]:
        size = abs(factor)
        term = str(size) if not name else name if size == 1 else f"{name} * {size}"
        sign = "-" if factor < 0 else "+"
        text += f" {sign} {term}" if text else ("-" + term if factor < 0 else term)
    return text or "0"


def _start(variable: str, extent: int, indices: Sequence[Affine], scalars: Sequence[str]) -> Affine:
    """The scalars that number tiles: in every index they come with the variable, as multiples of the tile."""
    found = [index for index in indices if variable in index.variables]
    terms = []
    for name in scalars if found else ():
        ratios = {divmod(known_int(i.coefficient(name)), known_int(i.coefficient(variable))) for i in found}
        ratio, rest = ratios.pop()
        if not ratios and rest == 0 and ratio > 0 and ratio % extent == 0:
            terms.append((name, ratio))
    return Affine(tuple(terms))


def _indices(nest: Nest, buffers: dict[str, Buffer]) -> Iterator[Affine]:
    """Every index of memory and of a condition."""
    for node in walk_nodes(nest.body):
        if isinstance(node, If):
            yield from (condition.index for condition in node.conditions)
        elif isinstance(node, Store):
            for access in accesses(node):
                if buffers[access.buffer].scope is not Scope.REGISTER:
                    yield from access.index
            for part in walk(node.value):
                if isinstance(part, Select):
                    yield from (condition.index for condition in part.conditions)
