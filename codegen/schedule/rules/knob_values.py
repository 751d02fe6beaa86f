"""Values that knobs of several rules offer."""

from __future__ import annotations


def tile_counts(extent: int) -> tuple[int, ...]:
    """Numbers of tiles to try: small ones all, larger ones by halves of powers of two, and divisors.

    >>> tile_counts(14)
    (1, 2, 3, 4, 5, 6, 7, 8, 12, 14)
    """
    counts = set(range(1, 9)) | {2**p for p in range(4, 14)} | {3 * 2**p for p in range(2, 13)}
    counts |= {n for n in range(9, 65) if extent % n == 0}
    return tuple(sorted(n for n in counts if n <= extent))


def vector_extents(extent: int, lanes: int) -> tuple[int, ...]:
    """Tile extents along a vectorized axis: up to four vectors, and the axis itself if it is short.

    >>> vector_extents(56, 16)
    (16, 32, 48, 56, 64)
    """
    whole = {lanes * n for n in range(1, 5) if lanes * (n - 1) < extent}
    return tuple(sorted(whole | ({extent} if extent <= 4 * lanes else set())))
