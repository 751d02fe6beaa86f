"""The suites of operators: tuned now or earlier, timed beside libraries, kept if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from codegen.measure.config import MeasureConfig
from codegen.measure.detect import without_bf16
from codegen.measure.peers import Binder, kernel_binder
from codegen.measure.peers_tvm import has_tvm_expression, tune_with_tvm, tvm_binders
from codegen.measure.steadiness import watching
from codegen.ops import AWKWARD_WORKLOADS, ROUND_NEIGHBOURS, WORKLOADS, Operator
from codegen.target import Target
from scripts.running.display import say, show_table
from scripts.running.outputs import write_text
from scripts.suites.operators.page import (
    below_aim,
    neighbour_metrics,
    neighbours_table,
    page_of,
    show_standings,
)
from scripts.suites.operators.plots import draw_ratios, draw_roofline
from scripts.suites.operators.standings import OURS_IN_FLOAT32, TORCH_BF16, Standing, standing_metrics
from scripts.suites.operators.table_file import merged, read_standings, write_standings
from scripts.suites.operators.timing import compile_winner, time_winners
from scripts.tuning.stored_winners import (
    FILE,
    StoredWinner,
    read_winners,
    stored_targets,
    target_folder,
    write_winners,
)

STORED_SUITES: dict[str, Mapping[str, Operator]] = {
    "operators": WORKLOADS,
    "awkward": AWKWARD_WORKLOADS,
}
"""Suites whose results can be stored, with their workloads in the order of the tables."""

TUNED = ("now", "stored")
STORE = ("none", "all", "better")


@dataclass(frozen=True, kw_only=True)
class KernelsConfig:
    """Where tuned schedules come from and whether they are kept.

    ``tuned`` is ``now`` (search) or ``stored`` (the winners that ``results`` has for this target, without
    tuning). ``store`` keeps winners and table there: ``all`` in place of what is there, ``better`` only
    where a search beats the stored winner in interleaved rounds. ``workloads`` are patterns of names, of
    which a suite takes those that it has. A relative ``results`` is a folder of the project. ``tvm`` lets TVM
    MetaSchedule tune the same workloads, with as many trials; its kernels then are columns of the table, the
    best of all trials and the best within the seconds that our search took.
    """

    tuned: str = "now"
    store: str = "none"
    workloads: list[str] = field(default_factory=lambda: ["*"])
    results: str = "docs/results/operators"
    tvm: bool = False

    def __post_init__(self) -> None:
        if self.tuned not in TUNED:
            raise ValueError(f"kernels.tuned must be {' or '.join(TUNED)}, got {self.tuned!r}")
        if self.store not in STORE:
            raise ValueError(f"kernels.store must be {', '.join(STORE)}, got {self.store!r}")
        if self.tuned == "stored" and self.store == "better":
            raise ValueError(
                "kernels.store=better is for a new search; with kernels.tuned=stored, store=all times the "
                "stored winners again"
            )

    def chosen(self, workloads: Mapping[str, Operator]) -> dict[str, Operator]:
        """The workloads that match a pattern; ValueError if none does."""
        chosen = {
            name: operator
            for name, operator in workloads.items()
            if any(fnmatchcase(name, pattern) for pattern in self.workloads)
        }
        if not chosen:
            raise ValueError(f"kernels.workloads={self.workloads} matches none of {', '.join(workloads)}")
        return chosen


class Tuner(Protocol):
    """Searches for the winner of each workload; ``rivals`` are earlier ones to improve on."""

    def tune_all(
        self, workloads: Mapping[str, Operator], rivals: Mapping[str, StoredWinner]
    ) -> dict[str, StoredWinner]: ...


@dataclass(frozen=True)
class OperatorSuite:
    """One run of a suite: its name, what it tunes and times, and where that goes.

    ``folder`` is the run's; ``root`` is where a relative folder of results lies.
    """

    name: str
    config: KernelsConfig
    measure: MeasureConfig
    workloads: Mapping[str, Operator]
    target: Target
    seed: int
    folder: Path
    root: Path
    code_version: str

    @property
    def stored_folder(self) -> Path:
        return target_folder(self.root / self.config.results, self.target)

    def run(self, tuner: Tuner) -> dict[str, float | int | str]:
        """Find the winners, time them, show and write the table, keep it if asked; the metrics."""
        if self.config.tvm and find_spec("tvm") is None:
            raise ValueError("kernels.tvm=true needs TVM; install the extra: pip install -e '.[tvm]'")
        stored = read_winners(self.stored_folder / FILE, self.target)
        earlier = self._stored_tables()  # what is damaged is said before hours of tuning
        winners = self._winners(stored, tuner)
        others = self._others(winners)
        with watching(self.target, self.measure.steady_wait_s, self.measure.steady_share) as watch:
            standings = time_winners(
                self.workloads,
                winners,
                self.target,
                self.seed,
                self.code_version,
                lambda name: others.get(name, {}),
                watch,
            )
        if not standings:
            raise ValueError(f"none of the stored winners of suite={self.name} can be used any more")
        show_standings(f"{self.name} on {self.target.name}", standings)
        self._show_neighbours(standings)
        for phrase in below_aim(standings, ROUND_NEIGHBOURS):
            say(f"below the aim: {phrase}")
        _write_files(self.folder, self.name, standings)
        say(f"table and plots are in {self.folder}")
        if self.config.store != "none":
            self._store({**stored, **winners}, standings, earlier)
        return {**standing_metrics(standings), **neighbour_metrics(standings, ROUND_NEIGHBOURS)}

    def _winners(self, stored: Mapping[str, StoredWinner], tuner: Tuner) -> dict[str, StoredWinner]:
        usable = {name: stored[name] for name in self.workloads if name in stored}
        if self.config.tuned == "stored":
            self._require_stored(usable)
            return usable
        if usable:
            say(
                f"winners of {len(usable)} of these {len(self.workloads)} workloads are stored for this "
                "target; kernels.tuned=stored makes the table from them without tuning"
            )
        return tuner.tune_all(self.workloads, usable if self.config.store == "better" else {})

    def _others(self, winners: Mapping[str, StoredWinner]) -> dict[str, Mapping[str, Binder]]:
        """Further contestants by workload, made now or in an earlier part of this run."""
        return {name: {**self._tvm(name, winners[name]), **self._beside_bf16(name)} for name in winners}

    def _tvm(self, name: str, winner: StoredWinner) -> Mapping[str, Binder]:
        """TVM's kernels, where they are asked for."""
        operator = self.workloads[name]
        if not (self.config.tvm and has_tvm_expression(operator)):
            return {}
        say(f"TVM tunes {name} in {winner.trials} trials")
        folder = self.folder / "tvm" / f"{name}_{winner.trials}"
        tune_with_tvm(operator, self.target, winner.trials, folder, self.seed)
        return tvm_binders(operator, self.target, folder, winner.search_s)

    def _beside_bf16(self, name: str) -> Mapping[str, Binder]:
        """Where ours may multiply in bfloat16: torch that does, and our stored winner that does not."""
        if not self.target.bf16_dot:
            return {}
        from codegen.measure.peers_torch import torch_bf16_binder

        operator, exact = self.workloads[name], without_bf16(self.target)
        binder = torch_bf16_binder(operator, exact.num_threads)
        binders = {TORCH_BF16: binder} if binder else {}
        stored = read_winners(target_folder(self.root / self.config.results, exact) / FILE, exact)
        kernel = compile_winner(operator, stored[name], exact) if name in stored else None
        return {**binders, OURS_IN_FLOAT32: kernel_binder(kernel)} if kernel else binders

    def _require_stored(self, usable: Mapping[str, StoredWinner]) -> None:
        """Says which workloads have no winner; ValueError if none has one."""
        missing = [name for name in self.workloads if name not in usable]
        if not usable:
            others = ", ".join(stored_targets(self.root / self.config.results)) or "none"
            raise ValueError(
                f"no winners of suite={self.name} are stored for {self.target.name} "
                f"({self.target.fingerprint}) in {self.config.results} (targets there: {others}); tune with "
                "kernels.tuned=now and keep what is found with kernels.store=all"
            )
        if missing:
            say(f"no winner is stored of {', '.join(missing)}")

    def _show_neighbours(self, standings: Sequence[Standing]) -> None:
        columns, rows = neighbours_table(standings, ROUND_NEIGHBOURS)
        if rows:
            show_table("awkward shapes beside round ones", columns, rows)

    def _stored_tables(self) -> dict[str, list[Standing]]:
        """The rows stored for this target, by suite."""
        if self.config.store != "none" and self.name not in STORED_SUITES:
            allowed = " and ".join(STORED_SUITES)
            raise ValueError(f"suite={self.name} has no stored results, only {allowed} have")
        return {suite: read_standings(self.stored_folder / f"{suite}.csv") for suite in STORED_SUITES}

    def _store(
        self,
        winners: Mapping[str, StoredWinner],
        standings: Sequence[Standing],
        tables: Mapping[str, Sequence[Standing]],
    ) -> None:
        """Add to what is stored for this target; a kernel that computes something wrong stops that."""
        wrong = [each.name for each in standings if not each.is_correct]
        if wrong:
            say(f"nothing is stored: the kernels of {', '.join(wrong)} are wrong")
            return
        folder, name = self.stored_folder, self.name
        write_winners(folder / FILE, self.target, winners)
        tables = {**tables, name: merged(tables[name], standings, list(STORED_SUITES[name]))}
        _write_files(folder, name, tables[name])
        tables = {suite: table for suite, table in tables.items() if table}
        write_text(folder / "README.md", page_of(self.target, tables, ROUND_NEIGHBOURS))
        say(f"winners and table are stored in {folder}")


def _write_files(folder: Path, suite: str, standings: Sequence[Standing]) -> None:
    """The table as CSV and its two plots."""
    write_standings(folder / f"{suite}.csv", standings)
    draw_ratios(folder / f"{suite}_ratios.png", standings)
    draw_roofline(folder / f"{suite}_roofline.png", standings)
