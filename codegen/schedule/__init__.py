"""How programs may be scheduled: primitives, sketches with knobs, spaces of candidates."""

from __future__ import annotations

from typing import overload

from codegen.any_target import AnyTarget
from codegen.gpu_target import GpuTarget
from codegen.ir.expression import Program
from codegen.schedule.candidates import Candidates, concatenate
from codegen.schedule.errors import ScheduleError
from codegen.schedule.flatten import flatten_program
from codegen.schedule.rules.bf16_pairs import bf16_sketches
from codegen.schedule.rules.contraction_knobs import contraction_sketches
from codegen.schedule.rules.elementwise import elementwise_sketches
from codegen.schedule.rules.gpu_contraction import gpu_contraction_sketches
from codegen.schedule.rules.gpu_elementwise import gpu_elementwise_sketches
from codegen.schedule.rules.gpu_rowwise import gpu_rowwise_sketches
from codegen.schedule.rules.rowwise import rowwise_sketches
from codegen.schedule.rules.separated import separated_sketches
from codegen.schedule.rules.winograd import winograd_sketches
from codegen.schedule.space import NamedCandidate, Space
from codegen.target import Target

RULES = (rowwise_sketches, contraction_sketches, elementwise_sketches)
"""Those of CPUs, tried in order; the first that yields sketches defines the space."""

GPU_RULES = (gpu_contraction_sketches, gpu_rowwise_sketches, gpu_elementwise_sketches)
"""Those of GPUs."""

__all__ = [
    "GPU_RULES",
    "RULES",
    "Candidates",
    "NamedCandidate",
    "ScheduleError",
    "Space",
    "build_space",
    "concatenate",
    "flatten_program",
]


@overload
def build_space(program: Program, target: Target, *, winograd: bool = True) -> Space: ...
@overload
def build_space(program: Program, target: GpuTarget, *, winograd: bool = True) -> Space[GpuTarget]: ...
@overload
def build_space(
    program: Program, target: AnyTarget, *, winograd: bool = True
) -> Space | Space[GpuTarget]: ...
def build_space(program: Program, target: AnyTarget, *, winograd: bool = True) -> Space | Space[GpuTarget]:
    """Every schedule of a program that the sketch rules know, on a target.

    The space's program is the flattened one: same bytes, fewer dimensions. Sketches of Winograd's algorithm,
    whose rounding error is larger, come last, or not at all without ``winograd``; those that multiply in
    bfloat16 are there where ``Target.bf16_dot`` asks for them.

    Raises:
        ValueError: if no rule applies.
    """
    flat = flatten_program(program)
    if isinstance(target, GpuTarget):
        on_gpu = next(filter(None, (rule(flat, target) for rule in GPU_RULES)), ())
        return Space(flat, target, on_gpu)
    sketches = next(filter(None, (rule(flat, target) for rule in RULES)), ())
    with_winograd = winograd_sketches(flat, target) if winograd else ()
    others = (*separated_sketches(flat, target), *bf16_sketches(flat, target))
    return Space(flat, target, (*sketches, *others, *with_winograd))
