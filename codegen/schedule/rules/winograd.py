"""Sketches that compute 3 x 3 convolutions by Winograd's minimal filtering (arXiv:1509.09308).

Tiles of the image and the kernels are transformed, (m + 2)^2 matrix products over the channels follow, and
their results are transformed back: 2.25 (m = 2) or 4 times (m = 4) fewer multiplications than the sum itself,
for a larger rounding error. ``blocks`` does everything for a few rows of tiles at a time, so that what lies
between the steps stays in a thread's cache; ``phases`` does one step after another for whole images, so that
threads share the transformed kernels.
"""

from __future__ import annotations

from codegen.ir.expression import Program
from codegen.schedule.rules.knob_values import tile_counts
from codegen.schedule.rules.winograd_error import winograd_error
from codegen.schedule.rules.winograd_layout import Choice
from codegen.schedule.rules.winograd_lowering import lower_winograd
from codegen.schedule.rules.winograd_match import Convolution, match_convolution
from codegen.schedule.rules.winograd_matrices import transform
from codegen.schedule.sketch import Knob, KnobGroup, Sketch, constrained, free
from codegen.target import Target

_TILES = (2, 4)


def winograd_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """Two sketches for each size of tile; none if the program is no 3 x 3 convolution of stride 1."""
    convolution = match_convolution(program, target)
    if convolution is None:
        return ()
    choices = [Choice(tile, blocked) for tile in _TILES for blocked in (True, False)]
    return tuple(
        Sketch(
            choice.name,
            _groups(convolution, choice),
            lower_winograd(convolution, choice),
            errors=_errors(convolution, choice),
        )
        for choice in choices
    )


def _errors(convolution: Convolution, choice: Choice) -> dict[str, float]:
    error = winograd_error(transform(choice.tile), convolution.in_channel.extent)
    return {convolution.contraction.stage.output.name: error}


def _groups(convolution: Convolution, choice: Choice) -> tuple[KnobGroup, ...]:
    batch = convolution.batch.extent if convolution.batch else 1
    rows, columns = (-(-axis.extent // choice.tile) for axis in (convolution.row, convolution.column))
    groups = [_register_tile(convolution, rows * columns * (1 if choice.is_blocked else batch))]
    if choice.is_blocked:
        # With larger blocks some threads have none.
        most = -(-rows // -(-convolution.contraction.target.num_threads // batch))
        groups.append(free(Knob("tile_rows", tile_counts(most))))
    groups.append(free(Knob(f"{convolution.in_channel.name}_unroll", (1, 2, 4))))
    return tuple(groups)


def _register_tile(convolution: Convolution, num_tiles: int) -> KnobGroup:
    """Tiles of whole vectors of channels whose accumulators and operands fit the registers."""
    target, channel = convolution.contraction.target, convolution.channel
    lanes, most = target.vector_lanes, target.num_vector_registers
    widths = tuple(lanes * n for n in range(1, 5) if lanes * (n - 1) < channel.extent)
    rows = tuple(n for n in range(1, most) if n <= num_tiles)

    def fits(tile: tuple[int, ...]) -> bool:
        vectors = tile[0] // lanes
        return len(tile) == 1 or (tile[1] + 1) * vectors + 1 <= most

    return constrained((Knob(f"{channel.name}_register", widths), Knob("tile_register", rows)), fits)
