"""Knobs that GPU sketches share: powers of two, and how a program is run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from codegen.ir.expression import Axis
from codegen.schedule.sketch import Knob, KnobGroup, constrained, free


def covering(extent: int) -> int:
    """The smallest power of two that is not smaller.

    >>> [covering(extent) for extent in (1, 7, 64)]
    [1, 8, 64]
    """
    return 1 << (extent - 1).bit_length()


def powers(first: int, last: int) -> tuple[int, ...]:
    """Powers of two from one to another.

    >>> powers(2, 16)
    (2, 4, 8, 16)
    """
    return tuple(2**p for p in range(first.bit_length() - 1, last.bit_length()))


def block_name(axis: str) -> str:
    """The knob that is the tile size of an axis."""
    return f"{axis}_block"


def blocks(axes: Sequence[Axis], least: int, most: int) -> KnobGroup:
    """Tile sizes of some axes whose product is in a range; short axes are padded to reach the least."""
    reach = math.prod(covering(axis.extent) for axis in axes)
    knobs = []
    for axis in axes:
        last = min(covering(axis.extent), most)
        if axis is axes[-1] and reach < least:
            last *= least // reach
        knobs.append(Knob(block_name(axis.name), powers(1, last)))

    def is_allowed(sizes: tuple[int, ...]) -> bool:
        product = math.prod(sizes)
        return product <= most and (len(sizes) < len(axes) or product >= least)

    return constrained(tuple(knobs), is_allowed)


def launch(warps: tuple[int, ...], stages: tuple[int, ...]) -> tuple[KnobGroup, ...]:
    """Warps of a program, and stages of its software pipeline; the loop AST is the same for all."""
    return (free(Knob("num_warps", warps)), free(Knob("num_stages", stages)))
