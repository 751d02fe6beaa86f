"""The one exception of an illegal schedule, and the one place that raises it."""

from __future__ import annotations


class ScheduleError(Exception):
    """A step that cannot be applied to this loop AST, or knob values outside the space."""


def require(is_legal: bool, reason: str) -> None:
    """Raise ``ScheduleError(reason)`` unless the step is legal."""
    if not is_legal:
        raise ScheduleError(reason)
