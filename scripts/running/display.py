"""What a person sees while a script runs and when it ends; plain lines where stdout is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_STEPS = 10
"""Lines that a whole progress bar becomes in a log file."""


class Ticker(Protocol):
    """Told how far the work is, and a few words about it."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Ticker]:
    """A bar on a terminal, about ten lines elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield _plain_ticker(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        row = bar.add_task(title, total=None, note="")

        def tick(done: int, total: int, note: str = "") -> None:
            bar.update(row, completed=done, total=total, note=note)

        yield tick


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a small table; numbers are shown to four significant digits and right-aligned, gaps are ""."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a log file has no width to fit into
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        is_number = all(isinstance(row[position], (int, float)) or row[position] == "" for row in rows)
        table.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    console.print(table)


def say(sentence: str) -> None:
    """One line for the person who runs the script."""
    print(sentence, flush=True)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(0.000123), duration(0.0123), duration(75.2)
    ('123 us', '12.3 ms', '75.2 s')
    """
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def time_unit(times_s: Sequence[float]) -> tuple[str, float]:
    """One unit for all of a column, by its least time: its name, and how many of it are a second.

    >>> time_unit([2.9e-6, 0.012]), time_unit([0.0003, 0.012]), time_unit([])
    (('us', 1000000.0), ('ms', 1000.0), ('ms', 1000.0))
    """
    return ("us", 1e6) if min(times_s, default=1.0) < 1e-4 else ("ms", 1e3)


def _plain_ticker(title: str) -> Ticker:
    shown = -1

    def tick(done: int, total: int, note: str = "") -> None:
        nonlocal shown
        part = done * PLAIN_STEPS // max(total, 1)
        if part != shown:
            shown = part
            print(f"{title}: {done} of {total} {note}".rstrip(), flush=True)

    return tick


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
