"""A space counts, enumerates, samples, mutates, encodes and decodes its candidates."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ops import make_operator
from codegen.schedule import ScheduleError, Space, build_space
from tests.targets import make_target


def conv_space(lanes: int = 16, num_registers: int = 32) -> Space:
    parameters = {"height": 56, "width": 56, "in_channels": 64, "out_channels": 64, "kernel": 3, "padding": 1}
    return build_space(make_operator("conv2d", parameters).program(), make_target(lanes, num_registers))


def small_space() -> Space:
    return build_space(make_operator("softmax", {"rows": 6, "cols": 10}).program(), make_target())


def test_resnet_convolution_has_more_than_a_billion_points() -> None:
    assert conv_space().count() > 10**9


def test_enumeration_yields_exactly_the_counted_points() -> None:
    space = small_space()
    everything = space.enumerate(10**6)
    assert len(everything) == space.count()
    assert len(np.unique(everything.keys())) == space.count()


def test_no_candidates_at_all_are_a_batch_too() -> None:
    space = small_space()
    none = space.sample(0, np.random.default_rng(0))
    assert len(none) == 0
    assert space.by_sketch(none) == []
    assert len(space.canonical(space.mutate(none, np.random.default_rng(0)))) == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("softmax", {"rows": 1, "cols": 1000}),
        ("layer_norm", {"rows": 1, "cols": 64}),
        ("matmul", {"m": 1, "k": 512, "n": 1000}),
        ("matmul", {"m": 64, "k": 96, "n": 1}),
    ],
)
def test_a_single_row_has_schedules_like_any_other(name: str, parameters: dict[str, object]) -> None:
    space = build_space(make_operator(name, parameters).program(), make_target(16, 32))
    candidates = space.sample(5, np.random.default_rng(0))
    assert all(space.lower(candidates, row).body for row in range(5))


def test_a_vector_times_a_constant_matrix_may_pack_the_matrix() -> None:
    parameters = {"m": 1, "k": 512, "n": 1000}
    space = build_space(make_operator("matmul", parameters).program(), make_target(16, 32))
    assert any(sketch.name.startswith("vector_n") for sketch in space.sketches)


@pytest.mark.parametrize("image", [{"height": 14, "width": 14}, {"height": 3, "width": 3}])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_depthwise_convolution_has_schedules_in_every_layout(layout: str, image: dict[str, object]) -> None:
    parameters = {**image, "in_channels": 32, "out_channels": 32, "groups": 32, "layout": layout}
    space = build_space(make_operator("conv2d", parameters).program(), make_target(16, 32))
    vectors = {"NCHW": "vector_ow" if image["width"] == 14 else "vector_c", "NHWC": "vector_c"}
    assert all(sketch.name.startswith(vectors[layout]) for sketch in space.sketches)


def test_gathered_vectors_are_offered_only_where_there_are_no_others() -> None:
    strided = {"height": 9, "width": 9, "kernel": 1, "stride": 2}
    pool = build_space(make_operator("pool2d", {**strided, "channels": 3}).program(), make_target())
    assert {sketch.name.split(".")[0] for sketch in pool.sketches} == {"vector_ow"}
    conv = make_operator("conv2d", {**strided, "in_channels": 3, "out_channels": 5})
    names = {sketch.name.split(".")[0] for sketch in build_space(conv.program(), make_target()).sketches}
    assert names == {"vector_oc"}


def test_enumeration_stops_at_its_limit() -> None:
    assert len(conv_space().enumerate(1000)) == 1000
    assert len(conv_space().enumerate(0)) == 0
    with pytest.raises(ScheduleError, match="limit must not be negative, got -1"):
        conv_space().enumerate(-1)


def test_same_seed_gives_same_samples_and_mutations() -> None:
    space = conv_space()
    streams = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        start = space.sample(50, rng)
        streams.append(np.concatenate([start.keys(), space.mutate(start, rng).keys()]))
    assert np.array_equal(streams[0], streams[1])


def test_samples_of_given_sketches_are_of_these_and_not_hopeless() -> None:
    space = conv_space()
    asked = np.repeat([len(space.sketches) - 1, 0], 60)
    drawn = space.sample_of(asked, np.random.default_rng(0))
    assert np.array_equal(drawn.sketches, asked)
    assert len(set(drawn.keys().tolist())) > 60
    assert not space.is_hopeless(drawn).any()


def test_names_and_values_decode_to_the_same_candidates() -> None:
    space = conv_space()
    candidates = space.sample(40, np.random.default_rng(0))
    named = [space.named(candidates, row) for row in range(40)]
    assert np.array_equal(space.decode(named).keys(), candidates.keys())


def test_mutation_stays_in_the_space_and_changes_almost_every_candidate() -> None:
    space = conv_space()
    rng = np.random.default_rng(1)
    candidates = space.sample(300, rng)
    mutated = space.mutate(candidates, rng)
    space.decode([space.named(mutated, row) for row in range(300)])
    assert (mutated.keys() != candidates.keys()).mean() > 0.8


def test_mutation_within_a_sketch_changes_one_group() -> None:
    space = conv_space()
    rng = np.random.default_rng(2)
    candidates = space.sample(100, rng)
    mutated = space.mutate(candidates, rng, sketch_change=0.0)
    assert np.array_equal(mutated.sketches, candidates.sketches)
    widest = max(len(group.knobs) for sketch in space.sketches for group in sketch.groups)
    assert (mutated.positions != candidates.positions).sum(axis=1).max() <= widest


def test_moving_to_another_sketch_keeps_shared_knobs() -> None:
    space = conv_space()
    rng = np.random.default_rng(3)
    candidates = space.sample(200, rng)
    moved = space.mutate(candidates, rng, sketch_change=1.0)
    before = [space.named(candidates, row)["knobs"] for row in range(200)]
    after = [space.named(moved, row)["knobs"] for row in range(200)]
    both = [(a, b) for a, b in zip(before, after, strict=True) if "oh_outer" in a and "oh_outer" in b]
    assert len(both) > 50
    assert all(a["oh_outer"] == b["oh_outer"] for a, b in both)


def test_counterparts_of_a_candidate_are_one_per_sketch_with_its_knobs() -> None:
    space = conv_space()
    rng = np.random.default_rng(4)
    candidate = space.sample(1, rng)
    moved = space.counterparts(candidate, rng)
    assert sorted(moved.sketches) == list(range(len(space.sketches)))
    before = space.named(candidate, 0)["knobs"]
    after = {int(moved.sketches[row]): space.named(moved, row)["knobs"] for row in range(len(moved))}
    assert all(knobs["oh_outer"] == before["oh_outer"] for knobs in after.values() if "oh_outer" in knobs)
    assert after[int(candidate.sketches[0])] == before


def test_a_counterpart_comes_from_the_first_of_the_nearest_kin() -> None:
    space = conv_space()
    rng = np.random.default_rng(5)
    drawn = space.sample(200, rng)
    names = [space.sketches[number].name for number in drawn.sketches]
    direct, blocks = names.index("vector_oc.tile_x"), names.index("winograd4.blocks")
    later = len(names) - 1 - names[::-1].index("winograd4.blocks")
    moved = space.counterparts(drawn[np.array([direct, blocks, later])], rng)
    found = [space.named(moved, row) for row in range(len(moved))]
    phases = next(named["knobs"] for named in found if named["sketch"] == "winograd4.phases")
    kin = space.named(drawn, blocks)["knobs"]
    assert phases == {name: value for name, value in kin.items() if name != "tile_rows"}
    families = [str(named["sketch"]).split(".")[0] for named in found]
    assert len(set(families[:4])) == 4


def test_every_sample_satisfies_the_register_budget() -> None:
    space = conv_space()
    candidates = space.sample(500, np.random.default_rng(4))
    for row in range(0, 500, 10):
        named = space.named(candidates, row)
        knobs = named["knobs"]
        vector = "ow" if "vector_ow" in str(named["sketch"]) else "oc"
        vectors = -(-knobs[f"{vector}_register"] // 16)
        others = [name for name in ("oc", "oh", "ow", "tile") if name != vector]
        rows = np.prod([knobs.get(f"{name}_register", 1) for name in others])
        assert vectors * rows + vectors + 1 <= 32


def test_canonical_candidates_lower_to_the_same_loops() -> None:
    space = conv_space()
    candidates = space.sample(30, np.random.default_rng(5))
    canonical = space.canonical(candidates)
    assert (canonical.keys() != candidates.keys()).any()
    for row in range(30):
        assert space.lower(canonical, row) == space.lower(candidates, row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sketch": "nonsense"}, "sketch must be one of"),
        ({"knobs": {"vector": 4}}, "knobs must be"),
        ({"knobs": {"vector": 5, "row_inner": 1}}, "knob vector must be one of"),
    ],
)
def test_candidates_outside_the_space_are_refused(change: dict[str, object], message: str) -> None:
    space = small_space()
    named = {**space.named(space.enumerate(1), 0), **change}
    with pytest.raises(ScheduleError, match=message):
        space.decode([named])


def test_a_forbidden_combination_is_refused() -> None:
    space = conv_space()
    named = space.named(space.enumerate(1), 0)
    knobs = {**named["knobs"], "oc_register": 64, "oh_register": 8, "ow_register": 8}
    with pytest.raises(ScheduleError, match="is not allowed"):
        space.decode([{"sketch": named["sketch"], "knobs": knobs}])


def test_the_nearest_point_of_a_point_is_the_point() -> None:
    space = conv_space()
    points = space.sample(200, np.random.default_rng(3))
    found = space.nearest(points.sketches, points.positions + 0.2)
    np.testing.assert_array_equal(found.keys(), points.keys())
    assert (points.positions < space.num_values()[points.sketches]).all()


def test_what_breaks_a_constraint_moves_to_an_allowed_point_no_farther_than_others() -> None:
    space, rng = conv_space(), np.random.default_rng(4)
    sketches = rng.integers(len(space.sketches), size=50)
    asked = rng.uniform(0, space.num_values()[sketches])
    found = space.nearest(sketches, asked)
    again = space.decode([space.named(found, row) for row in range(50)])  # or it raises
    np.testing.assert_array_equal(again.keys(), found.keys())
    used = space.num_values()[sketches] > 1
    distance = (np.abs(asked - found.positions) * used).sum(axis=1)
    for seed in range(20):
        others = space.sample(2_000, np.random.default_rng(seed))
        for row in range(50):
            rivals = others.positions[others.sketches == sketches[row]]
            away = (np.abs(asked[row] - rivals) * used[row]).sum(axis=1)
            assert (away >= distance[row] - 1e-9).all()
