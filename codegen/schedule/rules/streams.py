"""Sketches whose output goes past the caches."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.expression import Program
from codegen.schedule.primitives import stream
from codegen.schedule.sketch import Sketch
from codegen.target import Target


def with_streams(sketch: Sketch, program: Program, target: Target) -> tuple[Sketch, ...]:
    """The sketch and, if the last cache does not hold what it touches, the same with a streamed output.

    A smaller output is better left in the cache for whoever reads it next.
    """
    if fits_caches(program, target):
        return (sketch,)
    name = f"{sketch.name}.streamed"
    streamed = replace(sketch, name=name, lower=lambda values: stream(sketch.lower(values)))
    return (sketch, streamed)


def fits_caches(program: Program, target: Target) -> bool:
    """Whether the last cache holds all operands and the output."""
    tensors = (*program.inputs, program.output)
    return sum(tensor.num_bytes for tensor in tensors) <= target.l3_bytes
