"""The knobs of contraction sketches."""

from __future__ import annotations

from collections.abc import Callable

from codegen.ir.expression import Axis, Program
from codegen.schedule.rules.contraction import Choice, Contraction, choices, match
from codegen.schedule.rules.contraction_lowering import limits, lower_contraction
from codegen.schedule.rules.knob_values import tile_counts, vector_extents
from codegen.schedule.sketch import Knob, KnobGroup, Sketch, Tiling, constrained, free
from codegen.target import Target

_MAX_UNROLLED_STEPS = 16
"""Copies of the register tile in the innermost body; more only costs compile time and code cache."""


def contraction_sketches(
    program: Program, target: Target, is_wanted: Callable[[Choice], bool] = lambda choice: True
) -> tuple[Sketch, ...]:
    """One sketch per wanted structure; none if the program is no contraction."""
    contraction = match(program, target)
    if contraction is None:
        return ()
    registers = {axis.name: _register_tile(contraction, axis.name) for axis in contraction.tiled_axes}
    return tuple(
        Sketch(
            choice.name,
            _groups(contraction, choice, registers[choice.vector]),
            lower_contraction(contraction, choice),
            limits(contraction),
            tilings=_tilings(contraction),
        )
        for choice in choices(contraction)
        if is_wanted(choice)
    )


def _tilings(contraction: Contraction) -> tuple[Tiling, ...]:
    """Of parallel tiles; a knob beyond what its axis holds makes a tile that is longer than the axis."""
    batch = contraction.batch_axes
    return tuple(
        Tiling(axis.extent, (f"{axis.name}_inner",))
        if axis.name in batch
        else Tiling(axis.extent, tuple(f"{axis.name}_{level}" for level in ("register", "inner", "outer")))
        for axis in contraction.stage.axes
    )


def _groups(contraction: Contraction, choice: Choice, register_tile: KnobGroup) -> tuple[KnobGroup, ...]:
    groups = [register_tile]
    for axis in contraction.stage.axes:
        groups.append(free(Knob(f"{axis.name}_inner", tile_counts(axis.extent))))
    for axis in contraction.tiled_axes:
        groups.append(free(Knob(f"{axis.name}_outer", tile_counts(axis.extent))))
    first = contraction.stage.reduce_axes[0]
    if choice.splits_reduction:
        groups.append(free(Knob(f"{first.name}_tile", _reduction_tiles(first))))
    if not choice.row_by_row:
        groups.append(_unrolling(contraction))
    return tuple(groups)


def _register_tile(contraction: Contraction, vector: str) -> KnobGroup:
    """Tiles whose accumulators, one row of vectors and one broadcast fit the vector registers."""
    target = contraction.target
    names = [vector, *(a.name for a in contraction.tiled_axes if a.name != vector)]
    extents = {axis.name: axis.extent for axis in contraction.tiled_axes}
    knobs = [Knob(f"{vector}_register", vector_extents(extents[vector], target.vector_lanes))]
    for name in names[1:]:
        rows = [n for n in range(1, target.num_vector_registers) if n <= extents[name]]
        knobs.append(
            Knob(f"{name}_register", tuple(n for n in rows if n <= 8 or n % 2 == 0 or extents[name] % n == 0))
        )

    def fits(tile: tuple[int, ...]) -> bool:
        vectors = -(-tile[0] // target.vector_lanes)
        accumulators = vectors
        for rows in tile[1:]:
            accumulators *= rows
        return accumulators + vectors + 1 <= target.num_vector_registers

    return constrained(tuple(knobs), fits)


def _reduction_tiles(axis: Axis) -> tuple[int, ...]:
    sizes = {2**p for p in range(4, 12)} | {3 * 2**p for p in range(3, 11)}
    return tuple(sorted(n for n in sizes if n < axis.extent))


def _unrolling(contraction: Contraction) -> KnobGroup:
    first, *window = contraction.stage.reduce_axes
    knobs = [Knob(f"{first.name}_unroll", tuple(n for n in (1, 2, 4, 8) if n <= first.extent))]
    for axis in window:
        knobs.append(Knob(f"{axis.name}_unroll", tuple(sorted({1, min(axis.extent, _MAX_UNROLLED_STEPS)}))))

    def is_short(factors: tuple[int, ...]) -> bool:
        copies = 1
        for factor in factors:
            copies *= factor
        return copies <= _MAX_UNROLLED_STEPS

    return constrained(tuple(knobs), is_short)
