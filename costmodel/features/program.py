"""Raw values of the program columns: the target, and sums over all statements."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.arithmetic import Int, ceil_div, maximum, minimum
from codegen.ir.loops import LoopKind, LoopProgram, Scope
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
    """Busiest thread / average thread: a thread more or less to do, and a last tile that is cut short."""
    shared = {loop.variable for loop in leaf.place.path if loop.kind is LoopKind.PARALLEL}
    loops = loops_inside(leaf, 0)
    guards = [g for loop in loops for g in loop.guards if shared.intersection(g.index.variables[:1])]
    rounds = ratio(ceil_div(iterations, num_threads) * num_threads, iterations)
    return minimum(rounds * waste(guards, extents_of(loops)), num_threads)


def _num_parallel_nests(tree: FeatureTree) -> int:
    """Perfectly nested parallel loops are one nest, named here by its outermost loop."""
    heads = set()
    for leaf in tree.leaves:
        names = [loop.variable for loop in leaf.place.path if loop.kind is LoopKind.PARALLEL]
        heads.update(names[:1])
    return len(heads)


def _bytes_in(program: LoopProgram, *scopes: Scope) -> Int:
    return total(ELEMENT_BYTES * product(b.shape) for b in program.buffers if b.scope in scopes)
