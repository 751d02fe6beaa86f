"""The example of docs/search.md runs as it stands there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "search.md"


def block(heading: str) -> str:
    """The first block of Python under a heading."""
    section = PAGE.read_text().split(f"## {heading}\n")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


def names_of(folder: Path, *blocks: str) -> dict[str, Any]:
    """What the blocks leave when they are run one after another."""
    path = folder / "example.py"
    path.write_text("\n".join(blocks))
    return runpy.run_path(str(path))


def test_a_space_is_tuned_with_measurements_of_ones_own(tmp_path: Path) -> None:
    names = names_of(tmp_path, block("Spaces"), block("Measurements of your own"))
    found, space = names["found"], names["space"]
    assert len(found.history) == 30 == len({row.tobytes() for row in found.candidates.positions})
    best = space.named(found.candidates, found.best_trial)
    assert best["block"] * best["tile"] <= 1024
    assert found.best_latency_s == min(trial.latency_s for trial in found.history)


def test_a_failure_of_ones_own_measurer_costs_a_trial(tmp_path: Path) -> None:
    start = "    start = time"
    assert start in block("Measurements of your own")
    fails = block("Measurements of your own").replace(
        start, f"    if tile > 2:\n        raise RuntimeError\n{start}"
    )
    names = names_of(tmp_path, block("Spaces"), fails)
    assert {trial.status for trial in names["found"].history} == {"ok", "runtime"}
    assert len(names["found"].history) == 30
