"""Features: one definition for one candidate and for many, and values that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.affine import variable
from codegen.ir.arithmetic import Int, ceil_div, symbol
from codegen.ir.expression import Binary, Constant, InRange, Load
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Scope, Store
from codegen.target import Target
from costmodel.batching import TreeGroup
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS, column_index
from costmodel.features.featurise import Featuriser, featurise, sketch_features
from costmodel.features.program import MAX_THREADS_APART
from costmodel.features.tree import build_tree
from tests.costmodel.synthetic import OPERATORS, sample, space_of
from tests.targets import make_target

TARGET = make_target(lanes=16, num_registers=32)
NONE = np.zeros(1, dtype=np.int64)
MASKED = column_index(NODE_COLUMNS, "masked_loads")


def tiled_matmul(
    m: int, k: int, n: int, rows: Int, columns: Int, inner: LoopKind = LoopKind.SERIAL
) -> LoopProgram:
    """Register tiles of ``rows`` x ``columns``, accumulated over k, then stored."""
    i, j = variable("i0") * rows + variable("i1"), variable("j0") * columns + variable("j1")
    i_out, j_out = variable("i0") * rows + variable("i2"), variable("j0") * columns + variable("j2")
    tile = (variable("i1"), variable("j1"))
    product = Binary("mul", Load("a", (i, variable("k"))), Load("b", (variable("k"), j)))
    update = Store("acc", tile, product, "sum")
    write = Store("c", (i_out, j_out), Load("acc", (variable("i2"), variable("j2"))))

    def laid_out(suffix: str, store: Store) -> Loop:
        guard_i = Guard(variable("i0") * rows + variable(f"i{suffix}"), m)
        guard_j = Guard(variable("j0") * columns + variable(f"j{suffix}"), n)
        row = Loop(f"j{suffix}", columns, (store,), LoopKind.VECTORIZED, (guard_j,))
        return Loop(f"i{suffix}", rows, (row,), LoopKind.UNROLLED, (guard_i,))

    reduction = Loop("k", k, (laid_out("1", update),), is_reduction=True)
    tiles = Loop("j0", ceil_div(n, columns), (reduction, laid_out("2", write)), inner)
    nest = Loop("i0", ceil_div(m, rows), (tiles,), LoopKind.PARALLEL)
    buffers = (
        Buffer("a", (m, k), Scope.INPUT),
        Buffer("b", (k, n), Scope.INPUT),
        Buffer("c", (m, n), Scope.OUTPUT),
        Buffer("acc", (rows, columns), Scope.REGISTER),
    )
    return LoopProgram("matmul", buffers, (nest,))


def features_of(program: LoopProgram, target: Target = TARGET, **knobs: int) -> TreeGroup:
    recorded = sketch_features(program, tuple(knobs), target)
    return recorded.evaluate({name: np.array([value]) for name, value in knobs.items()}, NONE)


def raw(group: TreeGroup, node: int, name: str) -> float:
    """A column without its logarithm."""
    return float(2.0 ** group.nodes[0, node, column_index(NODE_COLUMNS, name)])


def program_value(group: TreeGroup, name: str) -> float:
    return float(2.0 ** group.programs[0, column_index(PROGRAM_COLUMNS, name)])


@pytest.mark.parametrize("name", list(OPERATORS))
def test_a_batch_equals_each_candidate_alone(name: str) -> None:
    candidates = sample(name, 40)
    featuriser = Featuriser(space_of(name))
    batch = featuriser(candidates)
    for group in batch.groups:
        for place, row in enumerate(group.rows):
            (alone,) = featuriser(candidates[row : row + 1]).groups
            assert alone.parents == group.parents
            np.testing.assert_array_equal(alone.nodes[0], group.nodes[place])
            np.testing.assert_array_equal(alone.programs[0], group.programs[place])


@pytest.mark.parametrize("name", list(OPERATORS))
def test_every_value_is_finite_and_every_row_there(name: str) -> None:
    batch = featurise(space_of(name), sample(name, 300))
    assert sorted(np.concatenate([group.rows for group in batch.groups])) == list(range(300))
    for group in batch.groups:
        assert np.isfinite(group.nodes).all()
        assert np.isfinite(group.programs).all()


@pytest.mark.parametrize("name", list(OPERATORS))
def test_recorded_lowering_has_the_features_of_the_lowered_candidate(name: str) -> None:
    space, candidates = space_of(name), sample(name, 12, seed=3)
    batch = featurise(space, candidates)
    for group in batch.groups:
        for place, row in enumerate(group.rows):
            sketch = space.sketches[candidates.sketches[row]]
            knobs = {k.name: k.values[candidates.positions[row, c]] for c, k in enumerate(sketch.knobs)}
            alone = sketch_features(sketch.lower(knobs), (), space.target).evaluate({}, NONE)
            # Padding that never occurs for these knob values is still a condition of the sketch.
            assert (group.nodes[place][:, MASKED] >= alone.nodes[0][:, MASKED] - 1e-5).all()
            alone.nodes[0][:, MASKED] = group.nodes[place][:, MASKED]
            np.testing.assert_allclose(alone.nodes[0], group.nodes[place], atol=1e-5)
            np.testing.assert_allclose(alone.programs[0], group.programs[place], atol=1e-5)


@pytest.mark.parametrize("name", ["matmul", "conv2d"])
def test_flops_do_not_depend_on_the_schedule(name: str) -> None:
    space = space_of(name)
    batch = featurise(space, sample(name, 100))
    flops = batch.programs[:, column_index(PROGRAM_COLUMNS, "flops")]
    np.testing.assert_allclose(flops, np.log2(space.program.flops + 1), atol=1e-4)
    assert (batch.programs[:, column_index(PROGRAM_COLUMNS, "flop_waste")] >= -1e-5).all()


def test_a_tree_has_loops_as_nodes_and_statements_with_their_tiles_as_leaves() -> None:
    tree = build_tree(tiled_matmul(8, 5, 32, 4, 16))
    assert tree.parents == (-1, 0, 1, 2, 3, 2)
    assert [len(leaf.merged) for leaf in tree.leaves] == [2, 2]


def test_values_of_a_tiled_matmul() -> None:
    program = tiled_matmul(8, 5, 64, symbol("rows"), symbol("columns"))
    group = features_of(program, rows=4, columns=32)
    i0, j0, k, update, write = range(1, 6)
    assert raw(group, i0, "extent") == raw(group, j0, "extent") == 2
    assert raw(group, k, "extent") == pytest.approx(5)
    assert raw(group, update, "outer_iterations") == pytest.approx(2 * 2 * 5)
    assert raw(group, update, "extent") == 4 * 32
    assert raw(group, update, "num_vectors") == 4 * 2
    assert raw(group, update, "broadcast_loads") - 1 == pytest.approx(4)
    assert raw(group, update, "contiguous_loads") - 1 == pytest.approx(2)
    assert raw(group, update, "chains") == 8
    assert raw(group, write, "stores") - 1 == pytest.approx(8)
    # Of one tile: 4 rows of a, 32 columns of b, and (in j0, not k) the tile of c.
    assert raw(group, k, "working_set") == pytest.approx(4 * (4 * 5 + 5 * 32))
    assert raw(group, j0, "working_set") == pytest.approx(4 * (4 * 5 + 5 * 64 + 4 * 64))
    assert program_value(group, "flops") == pytest.approx(2 * 8 * 5 * 64 + 1, rel=1e-5)
    assert program_value(group, "parallel_iterations") == 2
    assert program_value(group, "argument_bytes") == pytest.approx(4 * (40 + 320 + 512))


def test_buffers_stand_in_the_order_of_their_roles() -> None:
    group = features_of(tiled_matmul(8, 5, 64, 4, symbol("columns")), columns=32)
    k = 3
    # What is accumulated, then the operand along the vector (b), then the broadcast one (a).
    assert group.nodes[0, k, column_index(NODE_COLUMNS, "buffer0_is_register")] == 1
    assert raw(group, k, "buffer1_touched") == pytest.approx(4 * 5 * 32)
    assert raw(group, k, "buffer2_touched") == pytest.approx(4 * 4 * 5)
    assert raw(group, k, "buffer1_reuse") == pytest.approx(4)
    assert raw(group, k, "buffer2_reuse") == pytest.approx(32)
    assert raw(group, k, "buffer1_stride") - 1 == pytest.approx(64)
    assert raw(group, k, "buffer2_stride") - 1 == pytest.approx(1)


def test_ragged_tiles_show_as_waste_and_not_as_flops() -> None:
    group = features_of(tiled_matmul(9, 5, 40, symbol("rows"), symbol("columns")), rows=4, columns=32)
    assert program_value(group, "flops") == pytest.approx(2 * 9 * 5 * 40 + 1, rel=1e-5)
    assert program_value(group, "flop_waste") == pytest.approx((12 / 9) * (64 / 40), rel=1e-3)
    assert raw(group, 4, "waste") == pytest.approx((12 / 9) * (64 / 40), rel=1e-5)


@settings(max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    tiles=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    num_threads=st.integers(1, MAX_THREADS_APART),
    inner=st.sampled_from([LoopKind.SERIAL, LoopKind.PARALLEL]),
)
def test_the_busiest_thread_has_what_its_piece_of_the_iterations_adds_up_to(
    sizes: tuple[int, int], tiles: tuple[int, int], num_threads: int, inner: LoopKind
) -> None:
    target = make_target(lanes=16, num_registers=32, num_threads=num_threads)
    program = tiled_matmul(sizes[0], 3, sizes[1], symbol("rows"), symbol("columns"), inner)
    group = features_of(program, target, rows=tiles[0], columns=tiles[1])
    rows, columns = (
        np.diff(np.minimum(np.arange(0, size + tile, tile), size)) for size, tile in zip(sizes, tiles)
    )
    work = np.outer(rows, columns)
    work = work.ravel() if inner is LoopKind.PARALLEL else work.sum(axis=1)
    ends = np.arange(num_threads + 1) * len(work) // num_threads
    done = np.concatenate([[0], np.cumsum(work)])[ends]
    expected = np.diff(done).max() * num_threads / work.sum()
    assert program_value(group, "imbalance") == pytest.approx(expected, rel=1e-4)


def test_of_many_threads_one_is_taken_to_have_full_tiles_alone() -> None:
    target = make_target(lanes=16, num_registers=32, num_threads=2 * MAX_THREADS_APART)
    group = features_of(tiled_matmul(9, 5, 32, symbol("rows"), 16), target, rows=4)
    # Three tiles, the last of one row, for 16 threads: one has 4 of 9 rows.
    assert program_value(group, "imbalance") == pytest.approx(16 * 4 / 9, rel=1e-4)


def test_narrow_tiles_waste_lanes() -> None:
    group = features_of(tiled_matmul(8, 5, 40, 4, symbol("columns")), columns=20)
    assert raw(group, 4, "lane_waste") == pytest.approx(32 / 20)


def test_more_accumulators_than_registers_show() -> None:
    fits = features_of(tiled_matmul(64, 5, 64, symbol("rows"), 16), rows=8)
    spills = features_of(tiled_matmul(64, 5, 64, symbol("rows"), 16), rows=64)
    assert raw(fits, 4, "over_registers") == 1
    assert raw(spills, 4, "over_registers") > 64 / TARGET.num_vector_registers


def test_conditions_add_no_nodes() -> None:
    index = (variable("i"),)
    condition = InRange(variable("i"), 1, 7)
    body = If((condition,), (Store("c", index, Load("a", index)),), (Store("c", index, Constant(0.0)),))
    buffers = (Buffer("a", (8,), Scope.INPUT), Buffer("c", (8,), Scope.OUTPUT))
    group = features_of(LoopProgram("p", buffers, (Loop("i", 8, (body,)),)))
    assert group.parents == (-1, 0, 1, 1)
    conditions = group.nodes[0, 2:, column_index(NODE_COLUMNS, "num_conditions")]
    otherwise = group.nodes[0, 2:, column_index(NODE_COLUMNS, "is_otherwise")]
    assert conditions.tolist() == [1, 1]
    assert otherwise.tolist() == [0, 1]


def test_packing_ahead_of_time_is_not_in_the_tree() -> None:
    index = (variable("i"),)
    buffers = (
        Buffer("w", (8,), Scope.INPUT),
        Buffer("p", (8,), Scope.PACKED),
        Buffer("c", (8,), Scope.OUTPUT),
    )
    prepack = (Loop("i", 8, (Store("p", index, Load("w", index)),)),)
    body = (Loop("i", 8, (Store("c", index, Load("p", index)),)),)
    assert len(build_tree(LoopProgram("p", buffers, body, prepack)).nodes) == 3


@settings(max_examples=20)
@given(rows=st.integers(1, 12), columns=st.integers(1, 70), m=st.integers(1, 30), n=st.integers(1, 90))
def test_flops_are_exact_for_any_tile_of_any_matmul(rows: int, columns: int, m: int, n: int) -> None:
    group = features_of(tiled_matmul(m, 7, n, symbol("rows"), symbol("columns")), rows=rows, columns=columns)
    assert program_value(group, "flops") == pytest.approx(2 * m * 7 * n + 1, rel=1e-5)


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="no_such_feature"):
        column_index(NODE_COLUMNS, "no_such_feature")
