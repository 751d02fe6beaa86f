"""Checks of the sizes that encoders are configured by."""

from __future__ import annotations


def check_sizes(readout: int, **sizes: int) -> None:
    """ValueError names a size that is not positive; a readout of 0 is a linear one."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if readout < 0:
        raise ValueError(f"readout must be 0 (linear) or more, got {readout}")
