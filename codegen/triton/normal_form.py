"""The form in which kernels are emitted: one nest per kernel, guards as conditions, no unit loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from codegen.ir.affine import Affine
from codegen.ir.closures import known_int
from codegen.ir.expression import InRange, Load, loads
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Node, Scope, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes, substitute


@dataclass(frozen=True)
class Nest:
    """One kernel: the parallel loops number its programs, outer first; ``body`` is what a program does."""

    grid: tuple[Loop, ...]
    body: Nodes

    @property
    def num_programs(self) -> int:
        """Size of the grid."""
        total = 1
        for loop in self.grid:
            total *= known_int(loop.extent)
        return total


def padded_size(extent: int) -> int:
    """The power of two that a tensor dimension of so many elements takes up.

    >>> padded_size(7)
    8
    """
    return 1 << (extent - 1).bit_length()


def nests(nodes: Nodes, buffers: Mapping[str, Buffer]) -> list[Nest]:
    """One kernel per outermost node, in order: a kernel ends before the next begins.

    Nodes between which values stay in registers are one program, whose loop of one iteration is gone.

    Raises:
        ScheduleError: values in registers would have to outlive a kernel.
    """
    held = [_registers(node, buffers) for node in nodes]
    last = {name: place for place, names in enumerate(held) for name in names}
    groups: list[Nodes] = []
    end = -1
    for place, node in enumerate(nodes):
        if place > end:
            groups.append(())
        groups[-1] = (*groups[-1], node)
        end = max([end, *(last[name] for name in held[place])])
    return [_nest(group) for group in groups]


def is_wide(buffer: Buffer) -> bool:
    """Whether a buffer in memory is of float32, whatever format inputs have: it holds sums."""
    return buffer.scope is Scope.GLOBAL and not buffer.is_copy


def accesses(store: Store) -> tuple[Load | Store, ...]:
    """A store, and what it loads."""
    return (store, *loads(store.value))


def _registers(node: Node, buffers: Mapping[str, Buffer]) -> set[str]:
    stores = [part for part in walk_nodes((node,)) if isinstance(part, Store)]
    names = {access.buffer for store in stores for access in accesses(store)}
    return {name for name in names if buffers[name].scope is Scope.REGISTER}


def check_buffers(loops: LoopProgram) -> None:
    """ScheduleError for what a GPU kernel cannot hold."""
    for buffer in loops.buffers:
        require(
            buffer.scope is not Scope.LOCAL,
            f"{buffer.name!r} is memory of one thread, which kernels for a GPU do not have",
        )


def _nest(nodes: Nodes) -> Nest:
    is_grid = any(isinstance(node, Loop) and node.kind is LoopKind.PARALLEL for node in nodes)
    require(len(nodes) == 1 or not is_grid, "values in registers would have to outlive a kernel")
    grid: list[Loop] = []
    guards: list[Guard] = []
    while len(nodes) == 1 and isinstance(nodes[0], Loop) and nodes[0].kind is LoopKind.PARALLEL:
        loop = nodes[0]
        if loop.extent == 1:
            nodes = _unit_body(loop)
            guards += _unit_guards(loop)
            continue
        grid.append(replace(loop, body=(), guards=()))
        guards += loop.guards
        nodes = loop.body
    extents = {loop.variable: known_int(loop.extent) for loop in grid}
    return Nest(tuple(grid), _conditional(tuple(guards), _normal(nodes, extents), extents))


def _normal(nodes: Nodes, extents: dict[str, int]) -> Nodes:
    return tuple(part for node in nodes for part in _normal_node(node, extents))


def _normal_node(node: Node, extents: dict[str, int]) -> Nodes:
    if isinstance(node, Store):
        return (node,)
    if isinstance(node, If):
        then, otherwise = _normal(node.then, extents), _normal(node.otherwise, extents)
        return (replace(node, then=then, otherwise=otherwise),)
    extent = known_int(node.extent)
    if extent == 1:
        return _conditional(_unit_guards(node), _normal(_unit_body(node), extents), extents)
    inside = {**extents, node.variable: extent}
    guards = tuple(guard for guard in node.guards if not (node.is_reduction and _is_masked(guard, node.body)))
    if node.kind is LoopKind.VECTORIZED and padded_size(extent) != extent:
        guards = (*guards, Guard(Affine(((node.variable, 1),)), extent))
    body = _conditional(guards, _normal(node.body, inside), inside)
    return (replace(node, guards=(), body=body),)


def _is_masked(guard: Guard, nodes: Nodes) -> bool:
    """Whether guards on elements of tensors cover a guard on whole tiles, for each statement inside.

    A branch for what is masked anyway would keep the compiler from pipelining the loop.
    """
    return all(
        isinstance(node, Loop)
        and (
            (is_tensor_loop(node) and any(_implies(inner, guard) for inner in node.guards))
            or _is_masked(guard, node.body)
        )
        for node in nodes
    )


def _implies(inner: Guard, outer: Guard) -> bool:
    more = inner.index - outer.index
    is_further = known_int(more.constant) >= 0 and all(known_int(c) >= 0 for _, c in more.terms)
    return is_further and known_int(inner.bound) <= known_int(outer.bound)


def _unit_body(loop: Loop) -> Nodes:
    """The only iteration of a loop."""
    return substitute(loop.body, {loop.variable: Affine()})


def _unit_guards(loop: Loop) -> tuple[Guard, ...]:
    return tuple(Guard(g.index.substitute({loop.variable: Affine()}), g.bound) for g in loop.guards)


def _conditional(guards: tuple[Guard, ...], body: Nodes, extents: dict[str, int]) -> Nodes:
    if not guards:
        return body
    return (If(tuple(InRange(g.index, least(g.index, extents), known_int(g.bound)) for g in guards), body),)


def least(index: Affine, extents: dict[str, int]) -> int:
    """The smallest value of an index."""
    negative = ((name, c) for name, c in index.terms if known_int(c) < 0)
    return known_int(index.constant) + sum(known_int(c) * (extents[name] - 1) for name, c in negative)


def is_tensor_loop(loop: Loop) -> bool:
    """Whether the iterations of a loop are the elements of tensors."""
    return loop.kind is LoopKind.VECTORIZED


def all_loops(nest: Nest) -> dict[str, Loop]:
    """Every loop of a kernel by its variable, those of the grid first."""
    inner = {n.variable: n for n in walk_nodes(nest.body) if isinstance(n, Loop)}
    return {**{loop.variable: loop for loop in nest.grid}, **inner}
