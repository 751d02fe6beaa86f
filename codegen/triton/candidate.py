"""Candidates of a GPU space as generated files that say where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from codegen.gpu_target import GpuTarget
from codegen.ir.text import program_text
from codegen.ops import Operator, operator_parameters
from codegen.schedule import NamedCandidate, Space
from codegen.triton.kernels import KernelSource, Launch, kernel_sources
from codegen.triton.module import Origin, emit_module

LAUNCH_KNOBS = ("num_warps", "num_stages")
"""Knobs that are options of the launch: the loop AST is the same for all their values."""


def candidate_source(
    operator: Operator, space: Space[GpuTarget], candidate: NamedCandidate, version: str
) -> str:
    """The source text of a candidate of the operator's space, for tensors of the operator's own shapes.

    Args:
        operator: whose program the space schedules.
        space: on a GPU.
        candidate: by names and values.
        version: of this project, for the header.

    Raises:
        ScheduleError: the candidate lies outside the space.
    """
    return emit_module(
        space.lower_named(candidate),
        space.target.precision,
        candidate_launch(candidate),
        _origin(operator, space, candidate, version),
    )


def candidate_kernels(space: Space[GpuTarget], candidate: NamedCandidate) -> tuple[KernelSource, ...]:
    """The kernels of a candidate for the compiler; ScheduleError if it lies outside the space."""
    return kernel_sources(space.lower_named(candidate), space.target.precision, candidate_launch(candidate))


def candidate_launch(candidate: NamedCandidate) -> Launch:
    """The options of a candidate's launch."""
    knobs = cast(Mapping[str, int], candidate["knobs"])
    return Launch(**{name: knobs[name] for name in LAUNCH_KNOBS})


def _origin(operator: Operator, space: Space[GpuTarget], candidate: NamedCandidate, version: str) -> Origin:
    target, program = space.target, operator.program()
    parameters = ", ".join(f"{name}={value}" for name, value in operator_parameters(operator).items())
    knobs = cast(Mapping[str, int], candidate["knobs"])
    dot = f", products of {target.precision.dot_input}" if target.precision.storage == "float32" else ""
    facts = {
        "task": f"{operator.operator_name}({parameters})",
        "program": program.hash,
        "target": f"{target.name} ({target.arch})",
        "precision": f"{target.precision.storage}{dot}, sums of float32",
        "sketch": str(candidate["sketch"]),
        "knobs": ", ".join(f"{name}={value}" for name, value in knobs.items()),
    }
    definition = tuple(program_text(program).splitlines()[1:])
    title = (
        f"{operator.operator_name} for a GPU, made by looprank {version}; it needs torch and triton alone."
    )
    return Origin(title=title, facts=facts, definition=definition, user_shapes=operator.user_shapes())
