"""The tables of a data card, as Markdown: what a set of records holds, target by target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.columns import dictionaries
from datasets.files import replace_text
from datasets.noise import drift_of, noise_of, unsteady_share
from datasets.record import SOURCES
from datasets.table import RecordTable

BEGIN, END = "<!-- tables: scripts/describe.py card=<this file> -->", "<!-- end of tables -->"
"""Lines of a card between which its tables stand."""


@dataclass(frozen=True)
class Table:
    """Cells as text, a heading per column."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The first column to the left, the others to the right."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.header, rule, *self.rows))


def card_tables(columns: pa.Table, table: RecordTable) -> tuple[Table, Table]:
    """Facts of each target, and operators by target; ``table`` is made of ``columns``."""
    targets = list(dict.fromkeys(task.target for task in table.tasks))
    parts = [_Part(columns, table, target.fingerprint) for target in targets]
    names = [target.name for target in targets]
    facts = [dict(part.facts()) for part in parts]
    rows = [[name, *(fact[name] for fact in facts)] for name in facts[0]] if facts else []
    return (
        Table("targets", ["", *names], rows),
        Table(
            "operators: tasks and distinct candidates",
            ["operator", *names],
            [[operator, *(part.operator(operator) for part in parts)] for operator in _operators(table)],
        ),
    )


def update_card(path: Path, tables: Sequence[Table]) -> None:
    """Put the tables between the two lines ``BEGIN`` and ``END``; ValueError if the file lacks them."""
    before, after = around_tables(path)
    replace_text(path, f"{before}{BEGIN}\n{tables_text(tables)}\n{END}{after}")


def around_tables(path: Path) -> tuple[str, str]:
    """What stands before and after the tables of a card; ValueError if it cannot be read or has no place."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ValueError(f"cannot read the card {path}: {error.strerror or error}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the card {path} must have the lines {BEGIN!r} and {END!r}, in this order")
    return before, after


def tables_text(tables: Sequence[Table]) -> str:
    """What stands in a card between ``BEGIN`` and ``END``."""
    return "".join(f"\n{table.markdown()}\n" for table in tables)


class _Part:
    """The records of one target."""

    def __init__(self, columns: pa.Table, table: RecordTable, fingerprint: str) -> None:
        fingerprints = [target.fingerprint for target in dictionaries(columns).targets]
        mine = [number for number, each in enumerate(fingerprints) if each == fingerprint]
        self.columns = columns.filter(pc.is_in(columns.column("target"), pa.array(mine)))
        self.tasks = [task for task in table.tasks if task.target.fingerprint == fingerprint]
        self.fingerprint = fingerprint

    def facts(self) -> Iterator[tuple[str, str]]:
        """What and how much."""
        yield "fingerprint", f"`{self.fingerprint}`"
        yield "tasks", _count(len(self.tasks))
        yield "trials", _count(self.columns.num_rows)
        sources = Counter(self.columns.column("source").to_pylist())
        yield from ((f"trials: {source}", _count(sources[source])) for source in SOURCES)
        yield "failed trials", _count(self.columns.num_rows - self.columns.column("failure_kind").null_count)
        yield "distinct candidates", _count(sum(map(len, self.tasks)))
        yield "candidates timed twice", _count(sum(len(task.repeat_rows) for task in self.tasks))
        lengths = pc.list_value_length(self.columns.column("times_s")).to_numpy()
        for least, most in ((10, None), (3, 9), (1, 2)):
            within = (lengths >= least) & (lengths <= (most or lengths.max(initial=least)))
            span = f"{least} to {most}" if most else f"{least} or more"
            yield f"trials of {span} times", _count(int(within.sum()))
        yield from self._conditions()
        yield from self._noise()

    def operator(self, operator: str) -> str:
        """How many tasks, and how many candidates of them."""
        mine = [task for task in self.tasks if task.operator == operator]
        return f"{_count(len(mine))}: {_count(sum(map(len, mine)))}" if mine else ""

    def _conditions(self) -> Iterator[tuple[str, str]]:
        names = {"code version": "code_version", "compiler": "compiler", "caches": "cache"}
        for what, name in names.items():
            values = dict.fromkeys(self.columns.column(name).to_pylist())
            yield what, ", ".join(value or "not noted" for value in values)
        days = [time.date().isoformat() for time in _span(self.columns.column("measured_at"))]
        yield "measured", " to ".join(dict.fromkeys(days))

    def _noise(self) -> Iterator[tuple[str, str]]:
        noise = noise_of(RecordTable(tuple(self.tasks)))
        for name, words in (("median", "median"), ("p90", "90th percentile"), ("p99", "99th percentile")):
            share = noise.get(f"repeat_difference_{name}", np.nan)
            yield f"two trials differ by, {words}", f"{share:.2%}" if np.isfinite(share) else "not known"
        drift = drift_of(self.columns).get(self.fingerprint)
        yield (
            "reference kernel, 90th percentile / median",
            "not measured" if drift is None else f"{drift:.2f}",
        )
        unsteady = unsteady_share(self.columns)
        yield (
            "trials while the machine was slower than usual",
            "not known" if unsteady is None else f"{unsteady:.2%}",
        )


def _operators(table: RecordTable) -> list[str]:
    """Those with most candidates first."""
    sizes: Counter[str] = Counter()
    for task in table.tasks:
        sizes[task.operator] += len(task)
    return [operator for operator, _ in sizes.most_common()]


def _span(times: pa.ChunkedArray) -> tuple[datetime, datetime]:
    bounds = pc.min_max(times).as_py()
    return bounds["min"], bounds["max"]


def _count(number: int) -> str:
    return f"{number:,}"
