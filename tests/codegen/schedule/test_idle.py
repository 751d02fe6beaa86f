"""Candidates that leave half of the cores idle are known as such, and neither sampled nor moved to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from codegen.ir.loops import Loop, LoopKind, walk_nodes
from codegen.ops import make_operator
from codegen.schedule import Candidates, Space, build_space, concatenate
from codegen.schedule.idle import LEAST_FLOPS_PER_CORE
from tests.targets import make_gpu_target, make_target

SQUARE = {"height": 14, "width": 14, "kernel": 3, "padding": 1}
PROGRAMS = {
    "convolution": ("conv2d", {**SQUARE, "in_channels": 32, "out_channels": 48}),
    "depthwise": ("conv2d", {**SQUARE, "in_channels": 96, "out_channels": 96, "groups": 96}),
    "batched": ("matmul", {"batch": 3, "m": 50, "k": 20, "n": 70}),
    "pooling": ("pool2d", {"height": 57, "width": 57, "channels": 40, "kernel": 3, "stride": 2}),
}


def space_of(name: str, num_threads: int) -> Space:
    operator, parameters = PROGRAMS[name]
    return build_space(make_operator(operator, parameters).program(), make_target(16, 32, num_threads))


def everywhere(space: Space, num: int) -> Candidates:
    """Points of the whole space, each knob's group drawn alone."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(len(space.sketches), size=num)
    positions = space.sample(num, rng).positions * 0
    for row, number in enumerate(numbers):
        groups = space.sketches[number].groups
        columns = np.concatenate([group.rows[rng.integers(len(group.rows))] for group in groups])
        positions[row, : len(columns)] = columns
    return Candidates(numbers, positions)


def num_shares(space: Space, candidates: Candidates, row: int) -> int:
    """Iterations that threads share in the nest of the result, which is the last."""
    loops = walk_nodes(space.lower(candidates, row).body[-1:])
    return math.prod(n.extent for n in loops if isinstance(n, Loop) and n.kind is LoopKind.PARALLEL)


@pytest.mark.parametrize("num_threads", [2, 3, 16])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_batch_is_judged_as_the_loops_of_each_candidate(name: str, num_threads: int) -> None:
    space = space_of(name, num_threads)
    candidates = concatenate([everywhere(space, 40), space.sample(40, np.random.default_rng(2))])
    judged = np.flatnonzero([bool(space.sketches[number].tilings) for number in candidates.sketches])
    most = min(num_threads, space.program.flops // LEAST_FLOPS_PER_CORE) // 2
    expected = [num_shares(space, candidates, row) <= most for row in judged]
    assert 0 < sum(expected) < len(expected)
    assert space.is_hopeless(candidates)[judged].tolist() == expected
    alone = [bool(space.is_hopeless(candidates[row : row + 1])[0]) for row in judged]
    assert alone == expected


@pytest.mark.parametrize("num_threads", [2, 16])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_hopeless_is_sampled_or_moved_to(name: str, num_threads: int) -> None:
    space = space_of(name, num_threads)
    rng = np.random.default_rng(0)
    sampled = space.sample(500, rng)
    assert not space.is_hopeless(sampled).any()
    assert set(sampled.sketches.tolist()) == set(range(len(space.sketches)))
    for start in (sampled, everywhere(space, 200)):
        moved = space.mutate(space.mutate(start, rng), rng, sketch_change=0.5)
        assert not space.is_hopeless(moved).any()
        space.decode([space.named(moved, row) for row in range(len(moved))])


@pytest.mark.parametrize("num_threads", [2, 16, 32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_move_leads_somewhere(name: str, num_threads: int) -> None:
    space = space_of(name, num_threads)
    rng = np.random.default_rng(1)
    for start in (space.sample(400, rng), everywhere(space, 200)):
        moved = space.mutate(start, rng)
        assert (moved.keys() != start.keys()).all()
        assert not space.is_hopeless(moved).any()


@pytest.mark.parametrize("num_threads", [2, 16, 32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_nearest_to_a_hopeless_point_is_not_hopeless(name: str, num_threads: int) -> None:
    space = space_of(name, num_threads)
    asked = everywhere(space, 300)
    found = space.nearest(asked.sketches, asked.positions.astype(float))
    space.decode([space.named(found, row) for row in range(len(found))])
    assert not space.is_hopeless(found).any()
    good = ~space.is_hopeless(asked)
    assert np.array_equal(found.keys()[good], asked.keys()[good])
    away = np.abs(found.positions - asked.positions).sum(axis=1)
    for row in np.flatnonzero(~good)[:40]:
        nearest = nearest_change_of_one_group(space, asked, row)
        assert nearest is None or away[row] == nearest


def nearest_change_of_one_group(space: Space, asked: Candidates, row: int) -> int | None:
    """Positions that a point moves by if one group changes until it is not hopeless; None if none can."""
    distances = []
    number, start = int(asked.sketches[row]), 0
    for group in space.sketches[number].groups:
        columns = slice(start, start + len(group.knobs))
        start += len(group.knobs)
        positions = np.repeat(asked.positions[row][None], len(group.rows), axis=0)
        positions[:, columns] = group.rows
        options = Candidates(np.full(len(positions), number), positions)
        away = np.abs(positions - asked.positions[row]).sum(axis=1)
        distances += away[~space.is_hopeless(options)].tolist()
    return min(distances, default=None)


@pytest.mark.parametrize("num_threads", [16, 32])
def test_a_sample_is_uniform_over_what_is_not_hopeless(num_threads: int) -> None:
    space = space_of("convolution", num_threads)
    rng = np.random.default_rng(3)
    drawn, sampled = everywhere(space, 200_000), space.sample(20_000, rng)
    kept = drawn[~space.is_hopeless(drawn)]
    assert len(kept) < 0.6 * len(drawn)
    for number, sketch in enumerate(space.sketches):
        one, other = (c.positions[c.sketches == number] for c in (kept, sampled))
        if len(one) < 200:
            continue  # too few to tell
        for column, knob in enumerate(sketch.knobs):
            counts, found = (
                np.bincount(positions[:, column], minlength=len(knob.values)) for positions in (one, other)
            )
            # Of both together, and one more: a value that is rare may be missing from either.
            share = (counts + found + 1) / (len(one) + len(other) + 1)
            sigma = np.sqrt(share * (1 - share) * (1 / len(one) + 1 / len(other)))
            away = np.abs(counts / len(one) - found / len(other))
            assert (away <= 5 * sigma + 3 / len(one)).all(), (sketch.name, knob.name)


def test_what_is_hopeless_is_still_in_the_space() -> None:
    space = space_of("convolution", 2)
    candidates = everywhere(space, 100)
    hopeless = candidates[space.is_hopeless(candidates)]
    named = [space.named(hopeless, row) for row in range(len(hopeless))]
    assert np.array_equal(space.decode(named).keys(), hopeless.keys())
    assert len(hopeless) > 10


@pytest.mark.parametrize(
    ("operator", "parameters", "num_threads"),
    [
        ("matmul", {"m": 64, "k": 64, "n": 64}, 1),
        ("matmul", {"m": 8, "k": 8, "n": 8}, 2),
        ("matmul", {"m": 1, "k": 300_000, "n": 32}, 64),
    ],
    ids=["one core", "done at once", "nothing to share"],
)
def test_a_space_keeps_all_its_candidates_where_cores_do_not_matter(
    operator: str, parameters: dict[str, object], num_threads: int
) -> None:
    program = make_operator(operator, parameters).program()
    space = build_space(program, make_target(16, 32, num_threads))
    assert not space.is_hopeless(everywhere(space, 500)).any()


def test_a_gpu_has_no_idle_cores() -> None:
    operator, parameters = PROGRAMS["convolution"]
    space = build_space(make_operator(operator, parameters).program(), make_gpu_target())
    assert not space.is_hopeless(space.sample(100, np.random.default_rng(0))).any()
