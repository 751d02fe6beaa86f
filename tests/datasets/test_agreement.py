from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.ir.text import program_text
from codegen.ops import make_operator
from codegen.schedule import build_space
from codegen.schedule.sketch import KnobGroup
from datasets.agreement import find_disagreements
from datasets.record import Record
from datasets.table import table_from_records

MATMUL = {"m": 32, "k": 16, "n": 32}


@pytest.fixture
def sampled(make_record, target) -> list[Record]:
    """Records of candidates that the space of a matrix product really holds."""
    program = make_operator("matmul", MATMUL).program()
    space = build_space(program, target)
    candidates = space.canonical(space.sample(12, np.random.default_rng(0)))
    named = [space.named(candidates, row) for row in range(len(candidates))]
    return [
        make_record(
            parameters=MATMUL,
            program_hash=program.hash,
            program_text=program_text(program),
            sketch=candidate["sketch"],
            knobs={name: int(value) for name, value in candidate["knobs"].items()},
            minute=minute,
        )
        for minute, candidate in enumerate(named)
    ]


def problems(records: list[Record]) -> list[str]:
    return find_disagreements(table_from_records(records))


def test_sampled_candidates_agree(sampled: list[Record]) -> None:
    assert problems(sampled) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda record: {"sketch": "absent"}, "sketch must be one of"),
        (lambda record: {"knobs": {**record.knobs, "surplus": 1}}, "knobs must be .*surplus"),
        (lambda record: {"knobs": dict(list(record.knobs.items())[1:])}, "knobs must be"),
        (lambda record: {"knobs": {**record.knobs, next(iter(record.knobs)): 12345}}, "12345"),
    ],
)
def test_a_candidate_outside_the_space_is_named_with_its_task(sampled, changed: Any, reason: str) -> None:
    with_one_changed = [replace(sampled[0], **changed(sampled[0])), *sampled[1:]]
    [problem] = problems(with_one_changed)
    assert re.match(
        rf"task task_a on \S+ \(.*\): 1 of \d+ candidates are not in its space, .*{reason}", problem
    ), problem


def test_a_forbidden_combination_of_allowed_values_is_found(sampled: list[Record], target) -> None:
    space = build_space(make_operator("matmul", MATMUL).program(), target)
    sketch = next(sketch for sketch in space.sketches if sketch.name == sampled[0].sketch)
    group = next(group for group in sketch.groups if len(group.rows) < all_combinations(group))
    most = {knob.name: knob.values[-1] for knob in group.knobs}
    assert tuple(len(knob.values) - 1 for knob in group.knobs) not in {tuple(row) for row in group.rows}
    [problem] = problems([replace(sampled[0], knobs={**sampled[0].knobs, **most})])
    assert "is not allowed" in problem


def test_a_program_that_hashes_otherwise_is_named(sampled: list[Record]) -> None:
    [problem] = problems([replace(sampled[0], parameters={**MATMUL, "m": 64})])
    assert "its operator is now" in problem
    [problem] = problems([replace(sampled[0], program_text="another\ntext\n")])
    assert "but its text has" in problem
    [problem] = problems([replace(sampled[0], operator="magic")])
    assert problem.startswith("task task_a on ")
    assert "magic" in problem


def all_combinations(group: KnobGroup) -> int:
    return math.prod(len(knob.values) for knob in group.knobs)
