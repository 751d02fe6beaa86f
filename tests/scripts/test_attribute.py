"""Attribution on loop texts: every node has its line, whatever the sketch."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from codegen.ir.loops import Loop, Store
from costmodel.attribution import Part
from costmodel.features.tree import LeafNode, LoopNode, build_tree
from scripts.attribute import annotated, line_nodes, percent
from tests.costmodel.synthetic import OPERATORS, sample, space_of
from tests.scripts.tiny import Scripts, refusal


@pytest.mark.parametrize("name", list(OPERATORS))
def test_every_node_has_one_line_and_it_is_its_own(name: str) -> None:
    space, candidates = space_of(name), sample(name, 40)
    for number, rows in space.by_sketch(candidates):
        program = space.lower(candidates, int(rows[0]))
        tree = build_tree(program)
        numbers = line_nodes(program, tree)
        assert [n for n in numbers if n is not None] == list(range(1, len(tree.nodes))), number
        values = {Part(node): 0.1 for node in range(1, len(tree.nodes))}
        lines = [line.strip() for line, _, value in annotated(program, tree, values) if value is not None]
        for line, node in zip(lines, tree.nodes[1:], strict=True):
            if isinstance(node, LoopNode):
                assert isinstance(node.loop, Loop)
                assert f" {node.loop.variable} in range(" in line
            else:
                assert isinstance(node, LeafNode)
                assert isinstance(node.store, Store)
                assert line.startswith(f"{node.store.buffer}[")


def test_a_candidate_is_explained_on_its_loops(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["task=matmul", "task.m=32", "task.k=48", "task.n=64", "num_orders=4", "num_background=8"]
    found = scripts("attribute", "run", *task)
    shown = capsys.readouterr().out
    assert "+= a[" in shown or "+= a_" in shown
    with (scripts.folder / "run" / "attribution.csv").open(newline="") as file:
        added = [float(row["log_time_added"]) for row in csv.DictReader(file)]
    assert found["predicted_ratio"] > 0
    assert np.any(np.abs(added) > 1e-3)
    assert (scripts.folder / "run" / "attribution.txt").read_text() in shown
    assert "-0%" not in shown
    assert "belong to a sketch" in refusal(capsys, scripts, "attribute", *task, "knobs={tile: 3}")


def test_a_share_has_a_sign_and_zero_has_one_only() -> None:
    assert [percent(each) for each in (-0.004, 0.0, -0.2, 0.7)] == ["+0%", "+0%", "-18%", "+101%"]
