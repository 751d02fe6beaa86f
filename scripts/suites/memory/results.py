"""Results of the memory suite that are kept for a target: winners among those of operators, and the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen.ops import MEMORY_WORKLOADS, Operator
from codegen.schedule import build_space
from codegen.target import Target
from scripts.running.display import say
from scripts.suites.memory.standings import MemoryStanding, memory_table, write_table
from scripts.tuning.stored_winners import FILE, StoredWinner, read_winners, write_winners

TABLE = "memory.csv"


@dataclass(frozen=True)
class MemoryResults:
    """What ``folder`` keeps for a target."""

    folder: Path
    target: Target

    def winners(self, workloads: Mapping[str, Operator]) -> dict[str, StoredWinner]:
        """The stored winners that can still be used, by workload."""
        stored = read_winners(self.folder / FILE, self.target)
        return {
            name: stored[name]
            for name, operator in workloads.items()
            if name in stored
            and stored[name].is_of(operator)
            and stored[name].is_in(build_space(operator.program(), self.target))
        }

    def required(self, workloads: Mapping[str, Operator]) -> dict[str, StoredWinner]:
        """The same where nothing is tuned: says which workloads have none, ValueError if none has one."""
        found = self.winners(workloads)
        if not found:
            raise ValueError(
                f"no winners of suite=memory are stored for {self.target.name} ({self.target.fingerprint}) "
                f"in {self.folder}; tune with kernels.tuned=now and keep what is found with kernels.store=all"
            )
        missing = [name for name in workloads if name not in found]
        if missing:
            say(f"no winner is stored of {', '.join(missing)}")
        return found

    def keep(self, winners: Mapping[str, StoredWinner], standings: Sequence[MemoryStanding]) -> None:
        """Add winners and rows in place of those of the same workloads; a wrong kernel stops that."""
        wrong = [each.name for each in standings if not each.is_correct]
        if wrong:
            say(f"nothing is stored: the kernels of {', '.join(wrong)} are wrong")
            return
        write_winners(
            self.folder / FILE, self.target, {**read_winners(self.folder / FILE, self.target), **winners}
        )
        columns, rows = memory_table(standings)
        by_name = {row[0]: row for row in (*self._rows(columns), *rows)}
        write_table(self.folder, columns, [by_name[name] for name in MEMORY_WORKLOADS if name in by_name])
        say(f"winners and table are stored in {self.folder}")

    def _rows(self, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """The stored rows; none if they have other columns."""
        path = self.folder / TABLE
        if not path.exists():
            return []
        first, *rows = csv.reader(io.StringIO(path.read_text(), newline=""))
        return [tuple(row) for row in rows] if first == list(columns) else []
