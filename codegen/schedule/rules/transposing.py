"""The sketch of programs that read operands across their rows: transposes, alone or in a chain.

Tiles go through registers: vectors along the operand's rows come in, vectors along the output's go out.
Nothing is gathered, and every line of either array that a tile touches is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from codegen.ir.arithmetic import ceil_div, minimum
from codegen.ir.expression import Axis, Load, Program, loads
from codegen.ir.loops import LoopProgram, Scope
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives import cache_read, fetch, parallel, reorder, split, unroll, vectorize
from codegen.schedule.rules.knob_values import tile_counts
from codegen.schedule.rules.streams import fits_caches
from codegen.schedule.sketch import Knob, KnobGroup, Sketch, Values, free
from codegen.target import Target

AHEAD = 4
"""Vectors by which each row of a tile is fetched ahead: prefetchers follow fewer rows than a tile has."""

MAX_ROWS = 4
"""Register tiles of such a tile along the output's rows. Each reads as many rows as a vector has lanes, which
with a power of two between them share a few sets of a cache: more would displace what was fetched."""


def transposing_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """Two sketches at most for a program of one stage and one transposed operand; none for any other.

    Knobs count register tiles (a vector squared) along both axes: those of a cache tile, which its
    thread goes through along the output's rows first, and those of the part that a thread takes at once.
    What the caches do not hold, ``tiles.ahead`` goes through in a few long rows of the operand, which it
    fetches before their turn.
    """
    operand = _transposed_operand(program)
    if operand is None:
        return ()
    load, axis = operand
    last, lanes = program.stages[0].axes[-1], target.vector_lanes
    counts = {each.name: -(-each.extent // lanes) for each in (axis, last)}
    limits = {f"{name}_inner": lambda values, count=count: count for name, count in counts.items()}

    def lower(values: Values) -> LoopProgram:
        return _lower(program, load, (axis, last), lanes, values)

    def lower_fetching(values: Values) -> LoopProgram:
        return fetch(lower(values), _copied(load)[-1], load.buffer, AHEAD * lanes)

    plain = Sketch("tiles", _groups({name: _counts(count) for name, count in counts.items()}), lower, limits)
    if fits_caches(program, target):
        return (plain,)
    long, few = _long(counts[axis.name]), tuple(n for n in _counts(counts[last.name]) if n <= MAX_ROWS)
    ahead = Sketch("tiles.ahead", _groups({axis.name: long, last.name: few}), lower_fetching, limits)
    return (plain, ahead)


def _groups(counts: Mapping[str, tuple[int, ...]]) -> tuple[KnobGroup, ...]:
    return tuple(free(Knob(f"{name}_inner", values)) for name, values in counts.items())


def _long(count: int) -> tuple[int, ...]:
    """Long parts of a row of the operand, all of it at most."""
    return tuple(sorted({*(2**p for p in range(5, 10) if 2**p < count), count}))


def _copied(load: Load) -> tuple[str, ...]:
    """The loops that copy a tile of an operand into registers, the vectorized one last."""
    return tuple(f"{load.buffer}_tile_{d}" for d in range(len(load.index)))


def _transposed_operand(program: Program) -> tuple[Load, Axis] | None:
    """The only load that is contiguous along another axis than the output, and that axis."""
    if len(program.stages) > 1:
        return None
    stage = program.stages[0]
    axes = {axis.name: axis for axis in stage.axes}
    found = []
    for load in loads(stage.value):
        names = load.index[-1].variables
        is_plain = all(
            len(index.terms) == 1 and index.coefficient(index.variables[0]) == 1 for index in load.index
        )
        if is_plain and names[0] != stage.axes[-1].name:
            found.append((load, axes[names[0]]))
    return found[0] if len(found) == 1 else None


def _counts(count: int) -> tuple[int, ...]:
    return tuple(sorted({*(n for n in tile_counts(count) if n <= 64), count}))


def _lower(program: Program, load: Load, axes: tuple[Axis, Axis], lanes: int, values: Values) -> LoopProgram:
    loops = naive_loops(program)
    order: list[list[str]] = [[], [], []]
    for axis in axes:
        name = axis.name
        inner = lanes * minimum(values[f"{name}_inner"], ceil_div(axis.extent, lanes))
        loops = split(loops, name, inner, (f"{name}0", f"{name}_rest"))
        loops = split(loops, f"{name}_rest", lanes, (f"{name}1", f"{name}2"))
        for level, names in enumerate(order):
            names.append(f"{name}{level}")
    others = [axis.name for axis in program.stages[0].axes if axis not in axes]
    loops = reorder(loops, [*others, *order[0], *order[1], *order[2]])
    copy, rows = f"{load.buffer}_tile", _copied(load)
    loops = cache_read(loops, order[1][-1], load.buffer, copy, Scope.REGISTER, rows)
    for name in rows[:-1]:
        loops = unroll(loops, name)
    loops = vectorize(loops, rows[-1])
    loops = vectorize(unroll(loops, order[2][0]), order[2][1])
    for name in (*others, *order[0]):
        loops = parallel(loops, name)
    return loops
