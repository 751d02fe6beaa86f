"""The tree that a model sees: loops as nodes, statements with their innermost loops as leaves.

Unrolled and vectorized loops that hold nothing but each other and statements are merged into the
leaves, one leaf per statement, so a tree has some fifteen nodes. Conditions add no nodes: what they
guard becomes a child of the loop around them, and knows how many conditions it is under. The prepack
part is left out, since it is not timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from codegen.ir.affine import Affine
from codegen.ir.expression import Expr, Load, Select, children
from codegen.ir.loops import If, Loop, LoopKind, LoopProgram, Node, Store


@dataclass(frozen=True)
class Access:
    """A statement's use of a buffer."""

    buffer: str
    index: tuple[Affine, ...]
    is_store: bool = False
    is_masked: bool = False


@dataclass(frozen=True)
class Place:
    """Where a node stands: loops around it that are nodes themselves, and conditions."""

    parent: int
    path: tuple[Loop, ...] = ()
    num_conditions: int = 0
    is_otherwise: bool = False


@dataclass(frozen=True)
class LoopNode:
    """A loop that is not merged; ``leaves`` are the numbers of the leaves under it."""

    place: Place
    loop: Loop
    leaves: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LeafNode:
    """A statement in its unrolled and vectorized loops, outer first."""

    place: Place
    store: Store
    merged: tuple[Loop, ...]

    @cached_property
    def accesses(self) -> tuple[Access, ...]:
        """Distinct loads in order of evaluation, then the store."""
        found = dict.fromkeys(_loads(self.store.value, is_masked=False))
        return (*found, Access(self.store.buffer, self.store.index, is_store=True))


@dataclass(frozen=True)
class FeatureTree:
    """Nodes in pre-order under a root, which is node 0 and stands as None."""

    nodes: tuple[LoopNode | LeafNode | None, ...]

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of each node, -1 for the root; a parent comes before its children."""
        return tuple(-1 if node is None else node.place.parent for node in self.nodes)

    @property
    def leaves(self) -> tuple[LeafNode, ...]:
        """Leaves in textual order."""
        return tuple(node for node in self.nodes if isinstance(node, LeafNode))

    @property
    def flows(self) -> tuple[tuple[int, int], ...]:
        """Numbers of two leaves for each pair of which the earlier writes a buffer that the later uses."""
        leaves = [(number, node) for number, node in enumerate(self.nodes) if isinstance(node, LeafNode)]
        return tuple(
            (writer, user)
            for position, (writer, first) in enumerate(leaves)
            for user, second in leaves[position + 1 :]
            if any(access.buffer == first.store.buffer for access in second.accesses)
        )

    def leaves_under(self, node: LoopNode | LeafNode) -> tuple[LeafNode, ...]:
        """A leaf itself, or the leaves of a loop, in textual order."""
        if isinstance(node, LeafNode):
            return (node,)
        under = (self.nodes[number] for number in node.leaves)
        return tuple(leaf for leaf in under if isinstance(leaf, LeafNode))


def build_tree(program: LoopProgram) -> FeatureTree:
    """The tree of a program's timed part."""
    nodes: list[LoopNode | LeafNode | None] = [None]
    _add(program.body, Place(0), nodes)
    return FeatureTree(tuple(nodes))


def _add(body: tuple[Node, ...], place: Place, nodes: list[LoopNode | LeafNode | None]) -> None:
    for node in body:
        if isinstance(node, Store):
            nodes.append(LeafNode(place, node, ()))
        elif isinstance(node, If):
            count = place.num_conditions + len(node.conditions)
            _add(node.then, Place(place.parent, place.path, count, place.is_otherwise), nodes)
            _add(node.otherwise, Place(place.parent, place.path, count, True), nodes)
        elif _is_merged(node):
            _add_leaves((node,), place, (), nodes)
        else:
            number = len(nodes)
            nodes.append(None)
            inside = Place(number, (*place.path, node), place.num_conditions, place.is_otherwise)
            _add(node.body, inside, nodes)
            under = range(number, len(nodes))
            leaves = tuple(i for i in under if isinstance(nodes[i], LeafNode))
            nodes[number] = LoopNode(place, node, leaves)


def _add_leaves(
    body: tuple[Node, ...], place: Place, merged: tuple[Loop, ...], nodes: list[LoopNode | LeafNode | None]
) -> None:
    for node in body:
        if isinstance(node, Loop):
            _add_leaves(node.body, place, (*merged, node), nodes)
        elif isinstance(node, If):
            count = place.num_conditions + len(node.conditions)
            _add_leaves(node.then, Place(place.parent, place.path, count, place.is_otherwise), merged, nodes)
            _add_leaves(node.otherwise, Place(place.parent, place.path, count, True), merged, nodes)
        else:
            nodes.append(LeafNode(place, node, merged))


def _is_merged(node: Node) -> bool:
    if isinstance(node, Store):
        return True
    if isinstance(node, If):
        return all(_is_merged(child) for child in (*node.then, *node.otherwise))
    is_laid_out = node.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED)
    return is_laid_out and all(_is_merged(child) for child in node.body)


def _loads(value: Expr, *, is_masked: bool) -> list[Access]:
    if isinstance(value, Load):
        return [Access(value.buffer, value.index, is_masked=is_masked)]
    inner = is_masked or isinstance(value, Select)
    return [access for child in children(value) for access in _loads(child, is_masked=inner)]
