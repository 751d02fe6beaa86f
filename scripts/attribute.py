"""What makes a candidate fast or slow, by the model: python scripts/attribute.py task=resnet18_c2.

Prints the loop text with what every line adds to the predicted time, against random candidates of the same
sketch.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

import numpy as np
from omegaconf import MISSING

from codegen.ir.loops import LoopProgram, Store, walk_nodes
from codegen.ir.text import loop_text
from codegen.schedule import Candidates, Space, build_space
from costmodel.attribution import Part, attribute, by_node
from costmodel.batching import TreeGroup
from costmodel.features.accesses import buffer_slots
from costmodel.features.featurise import featurise
from costmodel.features.tree import FeatureTree, LeafNode, LoopNode, build_tree
from scripts.learning.guide import open_trained
from scripts.options.groups import TargetConfig, read_task, register_groups
from scripts.running.display import say
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics, write_text

SHOWN_BUFFERS = 0.02
"""Share of the time that what a line says of a buffer must add or take to be named."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A candidate by name, as in ``measure.py``; without a sketch, one drawn at random with ``seed``.

    ``num_background`` candidates of its sketch are what it is compared with, in ``num_orders`` random orders.
    """

    seed: int = 0
    task: Any = MISSING
    sketch: str | None = None
    knobs: dict[str, int] = field(default_factory=dict)
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    num_background: int = 64
    num_orders: int = 64
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.knobs and self.sketch is None:
            raise ValueError(f"knobs={dict(self.knobs)} belong to a sketch; name it with sketch=...")
        if min(self.num_background, self.num_orders) < 1:
            raise ValueError(
                f"num_background and num_orders must be at least 1, got {self.num_background} and "
                f"{self.num_orders}"
            )


def run(run: Run[Attribute]) -> Metrics:
    """Attribute, print, and keep the numbers."""
    config, rng = run.config, np.random.default_rng(run.config.seed)
    name, operator = read_task(config.task)
    space = build_space(operator.program(), config.target.detect())
    model = open_trained(config.model, config.loss, config.checkpoint)
    chosen = _chosen(space, config, rng)
    own = featurise(space, chosen).groups[0]
    background = _background(space, chosen, config.num_background, rng)
    values = attribute(model, own, background, rng, config.num_orders)
    program = space.lower(chosen, 0)
    rows = list(annotated(program, build_tree(program), values))
    text = "\n".join(f"{note:<36}{line}".rstrip() for line, note, _ in rows) + "\n"
    total = -sum(values.values())
    say(f"{name}, {space.named(chosen, 0)}\n\n{text}")
    say(
        f"{model.name} predicts {np.exp(total):.2f} times the time of an average candidate of this sketch; "
        f"the features of the whole program account for {percent(-by_node(values).get(None, 0.0))}, lines "
        "for what is beside them (they multiply; buffers are part of their lines)"
    )
    write_text(run.folder / "attribution.txt", text)
    write_text(run.folder / "attribution.csv", _csv(rows))
    return {"task": name, "predicted_ratio": float(np.exp(total)), "num_parts": len(values)}


def annotated(
    program: LoopProgram, tree: FeatureTree, values: Mapping[Part, float]
) -> Iterator[tuple[str, str, float | None]]:
    """Each line of the loop text with a note, and what its node adds to the logarithm of the time.

    Lines of merged loops have none: what they do is said at their statement.
    """
    numbers = iter(line_nodes(program, tree))
    is_body = False
    totals = by_node(values)
    for line in loop_text(program).splitlines():
        if is_body and not line.lstrip().startswith(("if ", "else:")):
            number = next(numbers)
            if number is not None and number in totals:
                buffers = _buffer_notes(program, tree, number, values)
                note = " ".join([percent(-totals[number]), *buffers])
                yield line, note, -totals[number]
                continue
        yield line, "", None
        is_body = is_body or line == "body:"


def line_nodes(program: LoopProgram, tree: FeatureTree) -> list[int | None]:
    """For each loop and statement of the body in textual order the number of its node; None if merged."""
    waiting = list(enumerate(tree.nodes))[1:]
    result: list[int | None] = []
    for item in walk_nodes(program.body):
        number, node = waiting[0] if waiting else (0, None)
        is_loop = isinstance(node, LoopNode) and node.loop is item
        is_statement = isinstance(node, LeafNode) and isinstance(item, Store)
        if is_loop or is_statement:
            waiting.pop(0)
            result.append(number)
        elif hasattr(item, "variable"):  # a loop; conditions have no line of their own here
            result.append(None)
    return result


def percent(log_ratio: float) -> str:
    """A difference of logarithms as a share of the time, with its sign.

    >>> percent(-0.004), percent(0.7)
    ('+0%', '+101%')
    """
    return f"{round(100 * float(np.expm1(log_ratio))):+}%"


def _buffer_notes(
    program: LoopProgram, tree: FeatureTree, number: int, values: Mapping[Part, float]
) -> list[str]:
    node = tree.nodes[number]
    if not isinstance(node, (LoopNode, LeafNode)):
        return []
    slots = buffer_slots(program, tree.leaves_under(node))
    return [
        f"{buffer.name} {percent(-value)}"
        for slot, buffer in enumerate(slots)
        if abs(value := values.get(Part(number, slot), 0.0)) >= SHOWN_BUFFERS
    ]


def _chosen(space: Space, config: Attribute, rng: np.random.Generator) -> Candidates:
    if config.sketch is None:
        return space.sample(1, rng)
    return space.decode([{"sketch": config.sketch, "knobs": dict(config.knobs)}])


def _background(space: Space, chosen: Candidates, num: int, rng: np.random.Generator) -> TreeGroup:
    """Random candidates of one sketch."""
    return featurise(space, space.sample_of(np.repeat(chosen.sketches[:1], num), rng)).groups[0]


def _csv(rows: Sequence[tuple[str, str, float | None]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["line", "text", "log_time_added"])
    writer.writerows(
        (number, line.strip(), value) for number, (line, _, value) in enumerate(rows) if value is not None
    )
    return text.getvalue()


if __name__ == "__main__":
    register_groups()
    launch("attribute", Attribute, run)
