"""The tree GRU: its fold against a recursion, and its native code against torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from codegen.schedule import Space
from costmodel.batching import TreeGroup, forest_of
from costmodel.encoders.treegru import TreeGRU, TreeGRUConfig
from costmodel.encoders.treegru_native import _machine
from costmodel.features.featurise import Featuriser, featurise
from costmodel.native import NativeScorer
from costmodel.network import Ranker, tensors_of
from costmodel.neural import NeuralModel
from tests.costmodel.synthetic import OPERATORS, dataset, sample, space_of, task


def network(hidden: int = 16, readout: int = 24) -> Ranker:
    """Random weights, input scaling of real features."""
    torch.manual_seed(0)
    result = Ranker(TreeGRUConfig(hidden=hidden, readout=readout))
    result.measure_inputs([dataset("matmul", "conv2d").trees])
    return result


def recursive_state(model: Ranker, group: TreeGroup, place: int, node: int) -> torch.Tensor:
    """The equations of the cell, one node at a time."""
    children = [child for child, parent in enumerate(group.parents) if parent == node]
    states = [recursive_state(model, group, place, child) for child in children]
    encoder: TreeGRU = model.encoder
    total = sum(states, start=torch.zeros(encoder.width))
    x = encoder.input(model.node_scaling(torch.from_numpy(group.nodes[place, node])))
    u = encoder.recurrent(total)
    (xz, xr, xc), (uz, ur, uc) = x.chunk(3), u.chunk(3)
    keep = torch.sigmoid(xz + uz)
    return keep * total + (1 - keep) * torch.tanh(xc + torch.sigmoid(xr + ur) * uc)


def test_the_fold_equals_the_recursion() -> None:
    model = network()
    batch = task("conv2d", 20).trees
    with torch.no_grad():
        forest = forest_of(batch)
        roots = model.encode(tensors_of(forest))
        for group in batch.groups:
            for place, row in enumerate(group.rows):
                found = roots[int(np.flatnonzero(forest.rows == row)[0])]
                torch.testing.assert_close(
                    found, recursive_state(model, group, place, 0), atol=1e-5, rtol=1e-4
                )


def scorer_of(model: NeuralModel, space: Space, num_threads: int = 1, **changes: object) -> NativeScorer:
    featuriser, scorer = Featuriser(space), NativeScorer(space, num_threads)
    for number in range(len(space.sketches)):
        [part] = model.compile(featuriser.sketch(number))
        scorer.prepare(number, replace(part, **changes))
    return scorer


@pytest.mark.parametrize("name", list(OPERATORS))
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_native_scores_are_torchs(name: str, lanes: int) -> None:
    model = NeuralModel(TreeGRUConfig(hidden=16, readout=24))
    model.network = network()
    space, candidates = space_of(name), sample(name, 90)
    scorer = scorer_of(model, space, folds={lanes: _machine(lanes).address})
    expected = model.score(featurise(space, candidates))
    np.testing.assert_allclose(scorer.score(candidates), expected, atol=1e-5)


@pytest.mark.parametrize("num", [1, 4, 5, 8, 9, 257, 1500])
def test_scores_do_not_depend_on_how_many_are_asked_for(num: int) -> None:
    model = NeuralModel(TreeGRUConfig(hidden=16, readout=24))
    model.network = network()
    space, candidates = space_of("conv2d"), sample("conv2d", 1500)
    together = scorer_of(model, space).score(candidates)
    np.testing.assert_array_equal(scorer_of(model, space, 3).score(candidates[:num]), together[:num])


def test_features_that_never_varied_are_ignored() -> None:
    model = network()
    batch = task("matmul", 30).trees
    varying = model.node_scaling.scale.numpy() > 0
    changed = [
        replace(g, nodes=np.where(varying, g.nodes, g.nodes + 100).astype(np.float32)) for g in batch.groups
    ]
    assert not varying.all()
    with torch.no_grad():
        before = model(tensors_of(forest_of(batch)))
        after = model(tensors_of(forest_of(replace(batch, groups=tuple(changed)))))
    torch.testing.assert_close(before, after)


def test_gradients_reach_every_parameter() -> None:
    model = network()
    model(tensors_of(forest_of(task("conv2d", 20).trees))).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("sizes", [{"hidden": 0}, {"hidden": 12}, {"readout": 7}])
def test_sizes_that_do_not_fill_a_tile_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        TreeGRUConfig(**sizes)
