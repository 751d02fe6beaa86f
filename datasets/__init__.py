"""Measured runtimes: what a record is, where records live, and how they become training data."""

from __future__ import annotations

from pathlib import Path


def check_package() -> None:
    """Make sure that this package and ``codegen`` come from one checkout.

    Another distribution is also called ``datasets``; where that one is found first, importing this
    function already fails.

    Raises:
        ValueError: naming both places.
    """
    import codegen

    ours, sibling = Path(__file__).resolve().parent, Path(codegen.__file__).resolve().parent
    if ours.parent != sibling.parent:
        raise ValueError(
            f"datasets comes from {ours}, but codegen from {sibling}: put one project first on the path"
        )
