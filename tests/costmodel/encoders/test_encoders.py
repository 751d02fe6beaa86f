"""The encoders against their equations, node by node."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from costmodel.batching import TreeBatch, TreeGroup, forest_of
from costmodel.encoders.context_treegru import ContextTreeGRU, ContextTreeGRUConfig
from costmodel.encoders.gnn import GNN, GNNConfig, neighbours
from costmodel.encoders.statement_mlp import StatementMLP
from costmodel.encoders.transformer import TransformerConfig
from costmodel.encoders.treelstm import TreeLSTM
from costmodel.network import ForestTensors, tensors_of

NUM_FEATURES = 5
PARENTS = ((-1, 0, 1, 1, 0, 4, 4), (-1, 0, 1, 2, 2))
FLOWS = (((2, 3), (3, 5)), ((3, 4),))


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    torch.manual_seed(0)


def forest() -> ForestTensors:
    """Two trees of one topology and one of another."""
    rng = np.random.default_rng(0)
    groups = [
        TreeGroup(
            parents,
            rng.normal(size=(num, len(parents), NUM_FEATURES)).astype(np.float32),
            np.zeros((num, 1), np.float32),
            rows,
            flows,
        )
        for parents, flows, num, rows in zip(
            PARENTS, FLOWS, (2, 1), (np.array([2, 0]), np.array([1])), strict=True
        )
    ]
    return tensors_of(forest_of(TreeBatch(tuple(groups))))


def each_tree(trees: ForestTensors) -> list[tuple[Tensor, TreeGroup]]:
    """Features of the nodes of each tree in pre-order, and its topology."""
    return [(torch.from_numpy(nodes), group) for group in trees.layout.groups for nodes in group.nodes]


def test_the_tree_lstm_equals_the_recursion_of_its_paper() -> None:
    encoder = TreeLSTM(8, NUM_FEATURES)

    def state(nodes: Tensor, parents: tuple[int, ...], node: int) -> tuple[Tensor, Tensor]:
        children = [state(nodes, parents, child) for child, parent in enumerate(parents) if parent == node]
        total = sum((h for h, _ in children), start=torch.zeros(8))
        xi, xo, xu, xf = encoder.input(nodes[node]).chunk(4)
        ui, uo, uu = encoder.recurrent(total).chunk(3)
        kept = sum((torch.sigmoid(xf + encoder.forget(h)) * c for h, c in children), start=torch.zeros(8))
        cell = torch.sigmoid(xi + ui) * torch.tanh(xu + uu) + kept
        return torch.sigmoid(xo + uo) * torch.tanh(cell), cell

    trees = forest()
    for found, (nodes, group) in zip(encoder(trees), each_tree(trees), strict=True):
        torch.testing.assert_close(found, state(nodes, group.parents, 0)[0])


def test_the_context_encoder_scatters_every_level_into_its_slots() -> None:
    config = ContextTreeGRUConfig(embedding=6, hidden=4, num_slots=3)
    encoder = ContextTreeGRU(config, NUM_FEATURES)
    trees = forest()
    states = torch.cat(encoder.tree.states(trees.with_nodes(torch.relu(encoder.embedding(trees.nodes)))))
    expected = torch.zeros(3, 3, 4)
    for state, tree in zip(states, trees.trees.tolist(), strict=True):
        expected[tree] += torch.softmax(encoder.slots(state), dim=0)[:, None] * state
    torch.testing.assert_close(encoder(trees), expected.reshape(3, 12))


def test_a_round_of_messages_is_the_mean_over_neighbours_of_each_kind() -> None:
    encoder = GNN(4, 1, NUM_FEATURES)
    (step,) = encoder.rounds
    trees = forest()
    for found, (nodes, group) in zip(encoder(trees), each_tree(trees), strict=True):
        states = torch.relu(encoder.embedding(nodes))
        normed = step.norm(states)
        sent = step.sent(normed).chunk(4, dim=1)
        edges = [(parent, child) for child, parent in enumerate(group.parents) if parent >= 0]
        flows = list(group.flows)
        kinds = [edges, [(b, a) for a, b in edges], flows, [(b, a) for a, b in flows]]
        after = []
        for node in range(len(nodes)):
            received = step.own(normed[node])
            for messages, pairs in zip(sent, kinds, strict=True):
                senders = [sender for sender, receiver in pairs if receiver == node]
                if senders:
                    received = received + messages[senders].mean(dim=0)
            after.append(states[node] + torch.relu(received))
        torch.testing.assert_close(found, torch.cat([torch.stack(after).sum(dim=0), after[0]]))


def test_a_round_of_messages_is_pytorch_geometrics() -> None:
    geometric = pytest.importorskip("torch_geometric.nn")
    hidden, trees = 4, forest()
    step = GNN(hidden, 1, NUM_FEATURES).rounds[0]
    convolution = geometric.RGCNConv(hidden, hidden, num_relations=4, aggr="mean")
    weights = {
        "weight": step.sent.weight.view(4, hidden, hidden).transpose(1, 2),
        "root": step.own.weight.t(),
        "bias": step.own.bias,
    }
    convolution.load_state_dict(weights)
    kinds = (trees.edges, trees.edges.flip(0), trees.flows, trees.flows.flip(0))
    numbers = torch.cat([torch.full((pairs.shape[1],), number) for number, pairs in enumerate(kinds)])
    states = torch.randn(len(trees.nodes), hidden)
    received = convolution(step.norm(states), torch.cat(kinds, dim=1), numbers)
    found = step(states, [neighbours(pairs, len(states)) for pairs in kinds])
    torch.testing.assert_close(found, states + torch.relu(received))


def test_statements_are_summed_and_loops_are_not() -> None:
    encoder = StatementMLP(8, NUM_FEATURES)
    trees = forest()
    for found, (nodes, group) in zip(encoder(trees), each_tree(trees), strict=True):
        leaves = sorted(set(range(len(nodes))) - set(group.parents))
        torch.testing.assert_close(found, encoder.embedding(nodes[leaves]).sum(dim=0))


@pytest.mark.parametrize("config", [TransformerConfig(hidden=8, num_heads=2), GNNConfig(hidden=8)])
def test_the_order_of_equal_siblings_matters_to_a_walk_alone(config: TransformerConfig | GNNConfig) -> None:
    encoder = config.build(NUM_FEATURES)
    nodes = np.random.default_rng(1).normal(size=(1, 3, NUM_FEATURES)).astype(np.float32)
    encoded = []
    for order in ([0, 1, 2], [0, 2, 1]):
        group = TreeGroup((-1, 0, 0), nodes[:, order], np.zeros((1, 1), np.float32), np.arange(1))
        encoded.append(encoder(tensors_of(forest_of(TreeBatch((group,))))).detach())
    assert torch.allclose(*encoded, atol=1e-5) == isinstance(config, GNNConfig)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"hidden": 10}, "multiple of 4"), ({"num_heads": 5}, "num_heads"), ({"readout": -1}, "readout")],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TransformerConfig(**sizes)
