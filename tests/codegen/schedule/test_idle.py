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
