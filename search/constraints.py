"""From knobs, conditions and constraints to the space of all points that they allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from search.table_space import Knob, TableSpace

Test: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.bool_]]
"""Given the values of the named knobs, each of shape (N,), says of which of N points something holds.

Values of a knob that has words and numbers come as objects.
"""


@dataclass(frozen=True)
class Constraint:
    """A point is allowed only where ``allows`` holds for the values of ``names``."""

    names: tuple[str, ...]
    allows: Test


@dataclass(frozen=True)
class Condition:
    """Knob ``knob`` matters where ``is_active`` holds for ``names``; elsewhere it has its first value."""

    knob: str
    names: tuple[str, ...]
    is_active: Test


def integer_knob(name: str, low: int, high: int, step: int = 1) -> Knob:
    """``low``, ``low + step``, ... up to ``high`` at most."""
    if step < 1 or high < low:
        raise ValueError(f"knob {name} needs low <= high and a positive step, got {low}, {high} and {step}")
    return Knob(name, tuple(range(low, high + 1, step)))


def constrained_space(
    knobs: Sequence[Knob],
    constraints: Sequence[Constraint] = (),
    conditions: Sequence[Condition] = (),
    limit: int = 5_000_000,
) -> TableSpace:
    """All allowed points, each once, the last knob fastest.

    Knobs are joined one by one, and what breaks a constraint is dropped as soon as all knobs that it names
    are there, so that it is the allowed part of the product that has to be small, not the product.

    Raises:
        ValueError: nothing is allowed, more than ``limit`` points are, a name is not that of a knob, or a
            constraint or condition does not say True or False of each point.
    """
    names = [knob.name for knob in knobs]
    _check_names(names, constraints, conditions)
    positions = np.zeros((1, 0), np.int64)
    for column, knob in enumerate(knobs):
        if len(positions) * len(knob.values) > limit:
            raise ValueError(f"more than {limit} points up to knob {knob.name}: constrain the space")
        positions = np.column_stack(
            [
                np.repeat(positions, len(knob.values), axis=0),
                np.tile(np.arange(len(knob.values)), len(positions)),
            ]
        )
        known = names[: column + 1]
        for condition in conditions:
            if _last(known, (condition.knob, *condition.names)) == column:
                active = _held(condition.is_active, knobs, positions, condition.names)
                positions = positions[active | (positions[:, known.index(condition.knob)] == 0)]
        for constraint in constraints:
            if _last(known, constraint.names) == column:
                positions = positions[_held(constraint.allows, knobs, positions, constraint.names)]
        if not len(positions):
            raise ValueError(f"no values of {', '.join(known)} satisfy the constraints: the space is empty")
    return TableSpace(knobs, positions)


def _check_names(
    names: Sequence[str], constraints: Sequence[Constraint], conditions: Sequence[Condition]
) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a space needs knobs with different names, got {list(names)}")
    asked = [name for constraint in constraints for name in constraint.names]
    asked += [name for condition in conditions for name in (condition.knob, *condition.names)]
    unknown = sorted(set(asked) - set(names))
    if unknown:
        raise ValueError(f"constraints and conditions name {unknown}; the knobs are {list(names)}")


def _last(known: Sequence[str], names: Sequence[str]) -> int | None:
    """Column of the last of the names; None while one of them is missing."""
    return max((known.index(name) for name in names), default=0) if set(names) <= set(known) else None


def _held(
    test: Test, knobs: Sequence[Knob], positions: NDArray[np.int64], names: Sequence[str]
) -> NDArray[np.bool_]:
    """What the test says of the points; ValueError if that is no array of as many booleans."""
    columns = {knob.name: column for column, knob in enumerate(knobs)}
    told = np.asarray(
        test({name: _array(knobs[columns[name]])[positions[:, columns[name]]] for name in names})
    )
    if told.dtype != np.bool_ or told.shape != (len(positions),):
        raise ValueError(
            f"what a constraint or condition on {', '.join(names)} says must be booleans of shape "
            f"({len(positions)},), got {told.dtype} of shape {told.shape}"
        )
    return told


def _array(knob: Knob) -> NDArray[Any]:
    """NumPy would turn numbers beside words into words."""
    num_words = sum(isinstance(value, str) for value in knob.values)
    is_mixed = 0 < num_words < len(knob.values)
    return np.array(knob.values, dtype=object if is_mixed else None)
