"""Raw values of the program columns: the target, and sums over all statements."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.arithmetic import Int, ceil_div, maximum, minimum
from codegen.ir.loops import Guard, Loop, LoopKind, LoopProgram, Scope
from codegen.ir.trace import ratio
from costmodel.features.accesses import (
    ELEMENT_BYTES,
    extents_of,
    largest,
    loops_inside,
    product,
    total,
    waste,
)
from costmodel.features.machine import Machine
from costmodel.features.nodes import Raw, Work
from costmodel.features.tree import FeatureTree, LeafNode

MAX_THREADS_APART = 8
"""So many threads have their pieces of work added up one by one."""


def program_columns(program: LoopProgram, tree: FeatureTree, work: Sequence[Work], target: Machine) -> Raw:
    """Values by name; ``work`` belongs to the tree's leaves, in order."""
    iterations = [_parallel_iterations(leaf) for leaf in tree.leaves]
    imbalances = [_imbalance(*each, target.num_threads) for each in zip(tree.leaves, iterations)]
    cycles = total(each.cycles for each in work)
    thread_cycles = total(
        ratio(each.cycles * imbalance, target.num_threads) for each, imbalance in zip(work, imbalances)
    )
    flops = total(each.flops for each in work)
    padded = total(each.padded_flops for each in work)
    return {
        "vector_lanes": target.vector_lanes,
        "vector_registers": target.num_vector_registers,
        "threads": target.num_threads,
        "l1": target.l1_bytes,
        "l2": target.l2_bytes,
        "l3": target.l3_bytes,
        "flops": flops,
        "padded_flops": padded,
        "flop_waste": ratio(maximum(padded, 1), maximum(flops, 1)),
        "num_parallel_nests": _num_parallel_nests(tree),
        "parallel_iterations": largest(iterations),
        "imbalance": ratio(thread_cycles * target.num_threads, cycles),
        "cycles": cycles,
        "thread_cycles": thread_cycles,
        "argument_bytes": _bytes_in(program, Scope.INPUT, Scope.OUTPUT),
        "packed_bytes": _bytes_in(program, Scope.PACKED),
        "workspace_bytes": _bytes_in(program, Scope.GLOBAL, Scope.LOCAL),
        "beyond_l1": total(each.beyond[0] for each in work),
        "beyond_l2": total(each.beyond[1] for each in work),
        "beyond_l3": total(each.beyond[2] for each in work),
    }


def _parallel_iterations(leaf: LeafNode) -> Int:
    return product(loop.extent for loop in leaf.place.path if loop.kind is LoopKind.PARALLEL)


def _imbalance(leaf: LeafNode, iterations: Int, num_threads: int) -> Int:
    """Busiest thread / average thread: a thread more or less to do, and last tiles that are cut short.

    Threads share the iterations of a nest in pieces as even as can be, in order (``codegen.llvm.team``). Of
    many threads, one is taken to have a piece of the longer ones with no cut tile in it.
    """
    loops = loops_inside(leaf, 0)
    shared = [loop for loop in leaf.place.path if loop.kind is LoopKind.PARALLEL]
    names = {loop.variable for loop in shared}
    guards = {g.index.variables[0]: g for loop in loops for g in loop.guards if g.index.variables[:1]}
    guards = {name: guard for name, guard in guards.items() if name in names}
    if num_threads > MAX_THREADS_APART:
        rounds = ratio(ceil_div(iterations, num_threads) * num_threads, iterations)
        return minimum(rounds * waste(guards.values(), extents_of(loops)), num_threads)
    axes = [_Axis(loop, guards.get(loop.variable)) for loop in shared]
    whole = product(axis.total for axis in axes)
    done = [_work_before(axes, number * iterations // num_threads) for number in range(num_threads)]
    pieces = [after - before for before, after in zip(done, [*done[1:], whole])]
    return ratio(largest(pieces) * num_threads, whole)


class _Axis:
    """A parallel loop, in units of the finest guard on its axis: how much each iteration has to do."""

    def __init__(self, loop: Loop, guard: Guard | None) -> None:
        self.extent = loop.extent
        self.step: Int = 1 if guard is None else guard.index.coefficient(loop.variable)
        self.total: Int = loop.extent if guard is None else guard.bound

    def before(self, number: Int) -> Int:
        """Of the iterations before one."""
        return minimum(number * self.step, self.total)

    def of(self, number: Int) -> Int:
        """Of one iteration."""
        work: Int = self.before(number + 1) - self.before(number)
        return work


def _work_before(axes: Sequence[_Axis], number: Int) -> Int:
    """What the iterations of a nest before the one of that number, in row-major order, have to do."""
    result: Int = 0
    inside: Int = 1
    for axis in reversed(axes):
        position = number - number // axis.extent * axis.extent
        number = number // axis.extent
        result = axis.before(position) * inside + axis.of(position) * result
        inside = inside * axis.total
    return result


def _num_parallel_nests(tree: FeatureTree) -> int:
    """Perfectly nested parallel loops are one nest, named here by its outermost loop."""
    heads = set()
    for leaf in tree.leaves:
        names = [loop.variable for loop in leaf.place.path if loop.kind is LoopKind.PARALLEL]
        heads.update(names[:1])
    return len(heads)


def _bytes_in(program: LoopProgram, *scopes: Scope) -> Int:
    return total(ELEMENT_BYTES * product(b.shape) for b in program.buffers if b.scope in scopes)
