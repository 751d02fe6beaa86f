"""matplotlib for files: no window is opened."""

from __future__ import annotations

from typing import Any


def pyplot() -> Any:
    """The module, imported when the first picture is drawn: it takes a while."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
