"""How programs may be scheduled: primitives, sketches with knobs, spaces of candidates."""

from __future__ import annotations

from codegen.ir.expression import Program
from codegen.schedule.candidates import Candidates, concatenate
from codegen.schedule.errors import ScheduleError
from codegen.schedule.flatten import flatten_program
from codegen.schedule.rules.contraction_knobs import contraction_sketches
from codegen.schedule.rules.elementwise import elementwise_sketches
from codegen.schedule.rules.rowwise import rowwise_sketches
from codegen.schedule.space import NamedCandidate, Space
from codegen.target import Target

RULES = (rowwise_sketches, contraction_sketches, elementwise_sketches)
"""Tried in order; the first that yields sketches defines the space."""

__all__ = [
    "RULES",
    "Candidates",
    "NamedCandidate",
    "ScheduleError",
    "Space",
    "build_space",
    "concatenate",
    "flatten_program",
]


def build_space(program: Program, target: Target) -> Space:
    """Every schedule of a program that the sketch rules know, on a target.

    The space's program is the flattened one: same bytes, fewer dimensions.

    Raises:
        ValueError: if no rule applies.
    """
    flat = flatten_program(program)
    sketches = next(filter(None, (rule(flat, target) for rule in RULES)), ())
    return Space(flat, target, sketches)
