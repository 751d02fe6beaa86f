"""Tuned schedules that are kept, one file per target: what a table is checked again from without tuning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen.ops import Operator, make_operator
from codegen.schedule import Space
from codegen.schedule.errors import ScheduleError
from codegen.target import Target
from scripts.running.outputs import write_text

FORMAT = 1
FILE = "winners.json"


@dataclass(frozen=True, kw_only=True)
class StoredWinner:
    """The best schedule that a search found for one workload, and where it comes from.

    ``candidate`` is ``{"sketch": name, "knobs": {name: value}}``. The latency is that of the finalists'
    rounds, median and 95 % interval. ``trials`` and ``search_s`` count those of every search that had a part
    in it; ``search_sha256`` is of all that fixes the last of them, its budget included.
    """

    operator: str
    parameters: Mapping[str, Any]
    candidate: Mapping[str, Any]
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    trials: int
    search_s: float
    seed: int
    search_sha256: str
    code_version: str
    compiler: str

    def is_of(self, operator: Operator) -> bool:
        """Whether this is the workload that now goes by the name."""
        return make_operator(self.operator, self.parameters) == operator

    def is_in(self, space: Space) -> bool:
        """Whether the schedule still exists there; sketches and knobs change as the project does."""
        try:
            space.decode([self.candidate])
        except ScheduleError:
            return False
        return True


def target_folder(results: Path, target: Target) -> Path:
    """Where the results of a target are kept: its name as a folder name and half its fingerprint."""
    words = re.sub(r"[^a-z0-9]+", "-", target.name.lower()).strip("-")
    return results / f"{words}-{target.fingerprint[:8]}"


def stored_targets(results: Path) -> list[str]:
    """The folders of all targets that have results there."""
    return sorted(path.parent.name for path in results.glob(f"*/{FILE}"))


def write_winners(path: Path, target: Target, winners: Mapping[str, StoredWinner]) -> None:
    """Replace the file in one step; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {name: asdict(winners[name]) for name in sorted(winners)}
    value = {
        "format": FORMAT,
        "fingerprint": target.fingerprint,
        "target": asdict(target),
        "winners": entries,
    }
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_winners(path: Path, target: Target) -> dict[str, StoredWinner]:
    """Winners by workload; none where there is no file.

    Raises:
        ValueError: the file is of another target or another format, or is damaged; it is named.
    """
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
        found, fingerprint, name = value["format"], value["fingerprint"], value["target"]["name"]
        entries = value["winners"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no stored winners: {error!r}") from None
    if found != FORMAT:
        raise ValueError(f"{path} has format {found}, this program reads format {FORMAT}")
    if fingerprint != target.fingerprint:
        raise ValueError(
            f"{path} is of the target {name} ({fingerprint}), this one is {target.name} "
            f"({target.fingerprint}); tune here with tuned=now"
        )
    return {workload: _read_winner(path, workload, entry) for workload, entry in entries}


def _read_winner(path: Path, workload: str, entry: Any) -> StoredWinner:
    try:
        winner = StoredWinner(**entry)
        make_operator(winner.operator, winner.parameters)
        if not 0 < winner.latency_low_s <= winner.latency_s <= winner.latency_high_s or winner.trials < 1:
            raise ValueError(f"latency {winner.latency_s!r} s after {winner.trials!r} trials is impossible")
        if not winner.search_s >= 0:
            raise ValueError(f"search_s is {winner.search_s!r}")
        if set(winner.candidate) != {"sketch", "knobs"} or not isinstance(winner.candidate["knobs"], dict):
            raise ValueError("candidate must have a sketch and knobs")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}, {workload}: no stored winner: {error}") from None
    return winner
