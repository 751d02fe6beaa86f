"""Raw values of the node columns, by name, as recorded arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.ir.arithmetic import Int, ceil_div, maximum, minimum
from codegen.ir.expression import count_flops
from codegen.ir.loops import LoopKind, LoopProgram, Scope
from codegen.ir.trace import ratio
from costmodel.features.accesses import (
    ELEMENT_BYTES,
    Footprints,
    buffer_slots,
    extents_of,
    innermost_vector,
    largest,
    loops_inside,
    product,
    stride,
    total,
    traffic,
    vectors,
    waste,
)
from costmodel.features.columns import NUM_SLOTS
from costmodel.features.machine import Machine
from costmodel.features.tree import Access, FeatureTree, LeafNode, LoopNode

Raw = dict[str, Int]

FMA_LATENCY_HALF_CYCLES = 8
"""Four cycles from one accumulation to the next in a chain; two start in each cycle."""

_SCOPES = {
    "is_argument": (Scope.INPUT, Scope.OUTPUT),
    "is_packed": (Scope.PACKED,),
    "is_workspace": (Scope.GLOBAL, Scope.LOCAL),
    "is_register": (Scope.REGISTER,),
}


@dataclass(frozen=True)
class Work:
    """What one leaf costs: raw values that the leaf's columns and the program's share."""

    outer: Int
    real_outer: Int
    instances: Int
    flops: Int
    padded_flops: Int
    cycles: Int
    waste: Int
    beyond: tuple[Int, ...]


def node_columns(
    footprints: Footprints, tree: FeatureTree, work: Mapping[int, Work], target: Machine
) -> list[Raw]:
    """One dictionary of raw values per node, in the tree's order."""
    result: list[Raw] = []
    cycles = total(each.cycles for each in work.values())
    for number, node in enumerate(tree.nodes):
        if isinstance(node, LoopNode):
            result.append(_loop_columns(footprints, tree, node, work, target))
        elif isinstance(node, LeafNode):
            columns = _leaf_columns(footprints, node, work[number], target)
            result.append({**columns, "share": ratio(work[number].cycles, cycles)})
        else:
            result.append({"is_root": 1})
    return result


def leaf_work(footprints: Footprints, leaf: LeafNode, target: Machine) -> Work:
    """Counts of one leaf over all its runs, with what ragged tiles waste.

    Iterations of loops around the leaf that a guard skips cost nothing; lanes and instances that a
    guard masks inside the leaf cost as much as others.
    """
    path = leaf.place.path
    loops = loops_inside(leaf, 0)
    extents = extents_of(loops)
    outer = product(loop.extent for loop in path)
    skipped = waste([guard for loop in path for guard in loop.guards], extents)
    overall = waste([guard for loop in loops for guard in loop.guards], extents)
    instances = product(loop.extent for loop in leaf.merged)
    lanes = product(_whole_vectors(loop.extent, target) for loop in leaf.merged if _is_vector(loop.kind))
    others = product(loop.extent for loop in leaf.merged if not _is_vector(loop.kind))
    flops = count_flops(leaf.store.value) + (leaf.store.reducer is not None)
    real_outer = ratio(outer, skipped)
    caches = (target.l1_bytes, target.l2_bytes, target.l3_bytes)
    return Work(
        outer=outer,
        real_outer=real_outer,
        instances=instances,
        flops=ratio(outer * instances * flops, overall),
        padded_flops=real_outer * (lanes * others * flops),
        cycles=real_outer * _cycles(footprints.program, leaf, target),
        waste=ratio(overall, skipped),
        beyond=traffic(footprints, leaf, caches),
    )


def _loop_columns(
    footprints: Footprints, tree: FeatureTree, node: LoopNode, work: Mapping[int, Work], target: Machine
) -> Raw:
    loop, place = node.loop, node.place
    depth = len(place.path)
    leaves = tree.leaves_under(node)
    outer = product(each.extent for each in place.path)
    inside = total(product(each.extent for each in loops_inside(leaf, depth + 1)) for leaf in leaves)
    flops = total(work[number].flops for number in node.leaves)
    values: Raw = {
        "is_serial": int(loop.kind is LoopKind.SERIAL),
        "is_parallel": int(loop.kind is LoopKind.PARALLEL),
        "is_unrolled": int(loop.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED)),
        "is_reduction": int(loop.is_reduction),
        "num_conditions": place.num_conditions,
        "is_otherwise": int(place.is_otherwise),
        "outer_iterations": outer,
        "extent": loop.extent,
        "unroll": loop.unroll,
        "waste": waste(loop.guards, extents_of((*place.path, loop))),
        "inner_iterations": inside,
        "flops": ratio(flops, outer),
    }
    values |= _memory_columns(footprints, leaves, depth, outer, values["flops"], target)
    values |= _slot_columns(footprints, leaves, depth, loop.variable)
    return values


def _leaf_columns(footprints: Footprints, leaf: LeafNode, work: Work, target: Machine) -> Raw:
    place, depth = leaf.place, len(leaf.place.path)
    vector = innermost_vector(leaf)
    extent: Int = vector.extent if vector is not None else 1
    flops = ratio(work.flops, work.outer)
    values: Raw = {
        "is_leaf": 1,
        "is_reduction": int(any(loop.is_reduction for loop in leaf.merged)),
        "num_conditions": place.num_conditions,
        "is_otherwise": int(place.is_otherwise),
        "outer_iterations": work.outer,
        "extent": work.instances,
        "waste": work.waste,
        "flops": flops,
        "vector_extent": extent,
        "lane_waste": ratio(_whole_vectors(extent, target), extent) if vector is not None else 1,
        "num_vectors": _num_vectors(leaf, target),
        "is_sum": int(leaf.store.reducer == "sum"),
        "is_max": int(leaf.store.reducer == "max"),
        "cycles": work.cycles,
        "beyond_l1": work.beyond[0],
        "beyond_l2": work.beyond[1],
        "beyond_l3": work.beyond[2],
    }
    values |= _memory_columns(footprints, (leaf,), depth, work.outer, flops, target)
    values |= _instruction_columns(footprints.program, leaf, target)
    values |= _slot_columns(footprints, (leaf,), depth, vector.variable if vector is not None else "")
    return values


def _memory_columns(
    footprints: Footprints, leaves: Sequence[LeafNode], depth: int, outer: Int, flops: Int, target: Machine
) -> Raw:
    touched = maximum(footprints.working_set(leaves, depth), 1)
    return {
        "working_set": touched,
        "over_l1": ratio(touched, target.l1_bytes),
        "over_l2": ratio(touched, target.l2_bytes),
        "over_l3": ratio(touched, target.l3_bytes),
        "moved": touched * outer,
        "intensity": ratio(flops, touched),
    }


def _slot_columns(footprints: Footprints, leaves: Sequence[LeafNode], depth: int, variable: str) -> Raw:
    values: Raw = {}
    for number, buffer in enumerate(buffer_slots(footprints.program, leaves)[:NUM_SLOTS]):
        reached = footprints.reach(buffer, leaves, depth)
        assert reached is not None  # a slot's buffer is used by the leaves
        accesses = [a for leaf in leaves for a in leaf.accesses if a.buffer == buffer.name]
        values[f"buffer{number}_touched"] = ELEMENT_BYTES * reached.elements
        values[f"buffer{number}_reuse"] = ratio(reached.accesses, reached.elements)
        values[f"buffer{number}_stride"] = largest([stride(buffer, a, variable) for a in accesses])
        values[f"buffer{number}_run"] = reached.run
        for name, scopes in _SCOPES.items():
            values[f"buffer{number}_{name}"] = int(buffer.scope in scopes)
    return values


def _instruction_columns(program: LoopProgram, leaf: LeafNode, target: Machine) -> Raw:
    lanes = target.vector_lanes
    kinds = _loads_by_kind(program, leaf, target)
    store = leaf.accesses[-1]
    in_registers = program.buffer(store.buffer).scope is Scope.REGISTER
    stored = 0 if in_registers else vectors(store, leaf.merged, lanes)
    is_strided = _stride_kind(program, leaf, store)[2]
    chains = vectors(store, leaf.merged, lanes)
    all_loads = total(kinds.values())
    needed = chains + minimum(all_loads, target.num_vector_registers)
    masked = total(vectors(access, leaf.merged, lanes) for access in leaf.accesses if access.is_masked)
    return {
        **kinds,
        "masked_loads": masked,
        "stores": stored,
        "strided_stores": stored * is_strided if not in_registers else 0,
        "registers": needed,
        "over_registers": ratio(needed, target.num_vector_registers),
        "chains": chains,
        "loads_per_vector": ratio(all_loads, _num_vectors(leaf, target)),
    }


def _loads_by_kind(program: LoopProgram, leaf: LeafNode, target: Machine) -> Raw:
    """Loads from memory per run, each distinct vector once: a backend keeps what it loaded in registers."""
    kinds: Raw = {"broadcast_loads": 0, "contiguous_loads": 0, "strided_loads": 0}
    for access in leaf.accesses[:-1]:
        if program.buffer(access.buffer).scope in (Scope.REGISTER, Scope.TABLE):
            continue
        count = vectors(access, leaf.merged, target.vector_lanes)
        for name, share in zip(kinds, _stride_kind(program, leaf, access)):
            kinds[name] = kinds[name] + count * share
    return kinds


def _stride_kind(program: LoopProgram, leaf: LeafNode, access: Access) -> tuple[Int, Int, Int]:
    """One-hot: broadcast (stride 0), contiguous (1), strided; arithmetic, as strides may depend on knobs."""
    vector = innermost_vector(leaf)
    step = stride(program.buffer(access.buffer), access, vector.variable) if vector is not None else 0
    is_moving = minimum(step, 1)
    is_strided = minimum(maximum(step - 1, 0), 1)
    return 1 - is_moving, is_moving - is_strided, is_strided


def _num_vectors(leaf: LeafNode, target: Machine) -> Int:
    return product(
        ceil_div(loop.extent, target.vector_lanes) if _is_vector(loop.kind) else loop.extent
        for loop in leaf.merged
    )


def _cycles(program: LoopProgram, leaf: LeafNode, target: Machine) -> Int:
    """Half cycles of one run: two vector operations or loads, or one store, start in each cycle."""
    count = _num_vectors(leaf, target)
    operations = count * max(count_flops(leaf.store.value), 1)
    loads = _loads_by_kind(program, leaf, target)
    gathers = loads["strided_loads"] * target.vector_lanes
    issue: Int = largest([operations, loads["broadcast_loads"] + loads["contiguous_loads"] + gathers])
    store = leaf.accesses[-1]
    chains = vectors(store, leaf.merged, target.vector_lanes)
    if program.buffer(store.buffer).scope is not Scope.REGISTER:
        is_strided = _stride_kind(program, leaf, store)[2]
        issue = maximum(issue, 2 * chains * (1 + is_strided * (target.vector_lanes - 1)))
    if leaf.store.reducer is not None:
        issue = maximum(issue, ratio(count * FMA_LATENCY_HALF_CYCLES, chains))
    return issue


def _whole_vectors(extent: Int, target: Machine) -> Int:
    lanes: Int = ceil_div(extent, target.vector_lanes) * target.vector_lanes
    return lanes


def _is_vector(kind: LoopKind) -> bool:
    return kind is LoopKind.VECTORIZED
