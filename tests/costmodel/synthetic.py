"""Small real spaces with made-up runtimes: what the tests of cost models learn from."""

from __future__ import annotations

import functools

import numpy as np

from codegen.ops import make_operator
from codegen.schedule import Candidates, Space, build_space
from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.features.columns import NODE_COLUMNS, column_index
from costmodel.features.featurise import featurise
from tests.targets import make_target

OPERATORS = {
    "matmul": ("matmul", {"m": 60, "k": 96, "n": 100}),
    "small_matmul": ("matmul", {"m": 17, "k": 30, "n": 40}),
    "conv2d": (
        "conv2d",
        {"height": 9, "width": 9, "in_channels": 8, "out_channels": 24, "kernel": 3, "padding": 1},
    ),
    "depthwise": (
        "conv2d",
        {
            "height": 12,
            "width": 12,
            "in_channels": 16,
            "out_channels": 16,
            "groups": 16,
            "kernel": 3,
            "padding": 1,
        },
    ),
    "winograd": ("conv2d", {"height": 9, "width": 9, "in_channels": 17, "out_channels": 40, "padding": 1}),
    "softmax": ("softmax", {"rows": 19, "cols": 50}),
    "pool2d": ("pool2d", {"height": 10, "width": 10, "channels": 12, "kernel": 3, "stride": 2}),
    "transpose": ("transpose", {"rows": 20, "cols": 33}),
}


@functools.cache
def space_of(name: str) -> Space:
    """A small space, for a CPU with AVX-512."""
    operator, parameters = OPERATORS[name]
    program = make_operator(operator, parameters).program()
    # The few candidates of the convolution are to be of one kind.
    return build_space(program, make_target(lanes=16, num_registers=32), winograd=name == "winograd")


def sample(name: str, num: int, seed: int = 0) -> Candidates:
    """Random candidates of a small space."""
    return space_of(name).sample(num, np.random.default_rng(seed))


@functools.cache
def task(name: str, num: int = 120, seed: int = 0) -> TaskFeatures:
    """A task whose runtimes follow from the features, with a little noise, and a few failures."""
    trees = featurise(space_of(name), sample(name, num, seed))
    rng = np.random.default_rng(seed)
    latency_s = 1e-6 * runtime(trees) * np.exp(rng.normal(0, 0.02, num))
    latency_s[rng.random(num) < 0.03] = np.nan
    pairs = latency_s[:10, None] * np.exp(rng.normal(0, 0.02, (min(num, 10), 2)))
    return TaskFeatures(name, trees, latency_s, pairs)


def dataset(*names: str, num: int = 120) -> FeatureDataset:
    """Several tasks."""
    return FeatureDataset(tuple(task(name, num) for name in names))


def runtime(trees: TreeBatch) -> np.ndarray:
    """Dominated by instructions, spills and strided stores: a sum over leaves."""
    result = np.zeros(len(trees))
    for group in trees.groups:
        column = {c.name: group.nodes[..., column_index(NODE_COLUMNS, c.name)] for c in NODE_COLUMNS}
        cost = column["cycles"] + column["over_registers"] + column["strided_stores"] / 4
        result[group.rows] = np.where(column["is_leaf"] > 0, 2.0**cost, 0).sum(axis=1)
    return result
