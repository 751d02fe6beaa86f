"""Transposing blocks of vectors in registers."""

from __future__ import annotations

from codegen.llvm.writer import Writer, float_type, type_suffix

GROUP = 4
"""Floats in a 128-bit part of a register: shuffles inside such parts are the cheap ones."""


def transposed(writer: Writer, rows: tuple[str, ...], columns: int, lanes: int) -> list[str]:
    """Columns of a block of vectors as vectors of ``lanes`` elements.

    Four rows at a time are transposed inside the 128-bit parts (two stages of unpacking); then whole
    parts are transposed between the groups of four rows. For 16 x 16 that is the usual 64 shuffles.

    Args:
        writer: where the shuffles go.
        rows: at most ``lanes`` vectors of ``columns`` floats; missing rows leave lanes undefined.
        columns: a power of two, at least 4.
        lanes: a power of two, at least 4.

    Returns:
        One SSA name per column.
    """
    padded = [*rows, *["poison"] * (lanes - len(rows))]
    groups = [_four_rows(writer, padded[first : first + GROUP], columns) for first in range(0, lanes, GROUP)]
    result = [""] * columns
    for inner in range(GROUP):
        parts = _transposed_parts(writer, [group[inner] for group in groups], columns // GROUP)
        for part, vector in enumerate(parts):
            result[GROUP * part + inner] = vector
    return result


def _four_rows(writer: Writer, rows: list[str], columns: int) -> list[str]:
    """Vectors whose 128-bit part p holds column ``4 p + i`` of four rows, for i = 0..3."""
    if all(row == "poison" for row in rows):
        return ["poison"] * GROUP
    first, second, third, fourth = rows
    parts = columns // GROUP
    low, high = _interleaved(columns, (0, 4, 1, 5)), _interleaved(columns, (2, 6, 3, 7))
    even, odd = _interleaved(columns, (0, 1, 4, 5)), _interleaved(columns, (2, 3, 6, 7))
    result = []
    for unpack in (low, high):
        upper = _shuffle(writer, first, second, unpack, parts)
        lower = _shuffle(writer, third, fourth, unpack, parts)
        pairs = [_shuffle(writer, upper, lower, pair, parts) for pair in (even, odd)]
        result += [_fenced(writer, vector, columns) for vector in pairs]
    return result


def _fenced(writer: Writer, vector: str, width: int) -> str:
    """The same vector, behind a fence that is no instruction.

    LLVM otherwise looks through all four stages for one shuffle that does the work of several: a long search,
    and in vain.
    """
    kind = float_type(width)
    fence = f"{kind} @llvm.arithmetic.fence.{type_suffix(width)}"
    writer.declarations.add(f"{fence}({kind})")
    return writer.value(f"call {fence}({kind} {vector})")


def _transposed_parts(writer: Writer, vectors: list[str], num_parts: int) -> list[str]:
    """From G vectors of P parts to P vectors of G parts."""
    if len(vectors) == 4 and num_parts == 4:
        return _four_by_four(writer, vectors)
    return [_concatenated(writer, vectors, part, num_parts) for part in range(num_parts)]


def _concatenated(writer: Writer, vectors: list[str], part: int, num_parts: int) -> str:
    """One part of each vector, side by side."""
    if len(vectors) == 1:
        return _shuffle(writer, vectors[0], "poison", _part_mask([part], [], num_parts), num_parts)
    chosen, size = [part], num_parts
    while len(vectors) > 1:
        mask = _part_mask(chosen, chosen, size)
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_shuffle(writer, one, two, mask, size) for one, two in pairs]
        size = 2 * len(chosen)
        chosen = list(range(size))
    return vectors[0]


def _four_by_four(writer: Writer, vectors: list[str]) -> list[str]:
    even, odd = _part_mask([0, 2], [0, 2], 4), _part_mask([1, 3], [1, 3], 4)
    first, second, third, fourth = vectors
    result = [""] * 4
    for parity, mask in enumerate((even, odd)):
        upper = _shuffle(writer, first, second, mask, 4)
        lower = _shuffle(writer, third, fourth, mask, 4)
        result[parity] = _shuffle(writer, upper, lower, even, 4)
        result[parity + 2] = _shuffle(writer, upper, lower, odd, 4)
    return result


def _part_mask(first: list[int], second: list[int], num_parts: int) -> list[int]:
    """Elements of the chosen 128-bit parts of two vectors."""
    parts = [*first, *(num_parts + part for part in second)]
    return [GROUP * part + element for part in parts for element in range(GROUP)]


def _interleaved(columns: int, picks: tuple[int, int, int, int]) -> list[int]:
    """The same choice of four elements in every 128-bit part; 4 and up count in the second vector."""
    return [
        part * GROUP + (pick if pick < GROUP else columns + pick - GROUP)
        for part in range(columns // GROUP)
        for pick in picks
    ]


def _shuffle(writer: Writer, first: str, second: str, mask: list[int], num_parts: int) -> str:
    if first == second == "poison":
        return "poison"
    kind = float_type(GROUP * num_parts)
    order = ", ".join(f"i32 {element}" for element in mask)
    return writer.value(f"shufflevector {kind} {first}, {kind} {second}, <{len(mask)} x i32> <{order}>")
