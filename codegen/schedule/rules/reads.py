"""What a stage reads of the stages before it, which decides whether it may run inside their loops."""

from __future__ import annotations

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Load, Stage, loads


def is_pointwise_after(stage: Stage, earlier: tuple[Stage, ...]) -> bool:
    """Whether a stage reads of all earlier ones the last alone, and of it the element at its own place."""
    previous = earlier[-1].output
    index = tuple(variable(axis.name) for axis in stage.axes)
    return stage.output.shape == previous.shape and all(
        load.buffer == previous.name and load.index == index for load in _reads(stage, earlier)
    )


def is_rowwise_after(stage: Stage, earlier: tuple[Stage, ...]) -> bool:
    """Whether a stage reads of all earlier ones only its own row, from the first column on."""
    row = variable(stage.axes[0].name)
    return all(
        load.index[0] == row and all(_is_plain(index) for index in load.index[1:])
        for load in _reads(stage, earlier)
    )


def _reads(stage: Stage, earlier: tuple[Stage, ...]) -> list[Load]:
    names = {other.output.name for other in earlier}
    return [load for load in loads(stage.value) if load.buffer in names]


def _is_plain(index: Affine) -> bool:
    return index == Affine() or index in map(variable, index.variables)
