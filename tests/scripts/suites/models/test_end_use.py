"""The comparison of models in the tuner counts the trials of every run."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hydra.core.config_store import ConfigStore

from scripts.suites.models.end_use import EndUseConfig, end_use_rows, trials_needed
from scripts.suites.search_efficiency.curves import curves_of
from tests.scripts.tiny import Scripts

CURVES = {
    "good": curves_of([[5.0, 1.04, 1.0], [1.05, 1.05, 1.05]], 3),
    "poor": curves_of([[None, 9.0, 1.2], [2.0, 1.01, 1.01]], 3),
    "hopeless": np.full((2, 3), np.nan),
}


def test_trials_are_counted_to_95_percent_of_the_best_speed_of_all_runs() -> None:
    best_s, needed = trials_needed(CURVES)
    assert best_s == 1.0
    assert needed == {"good": (2 + 1) / 2, "poor": (4 + 2) / 2, "hopeless": 4.0}


def test_the_table_ends_with_the_mean_over_workloads() -> None:
    header, rows, metrics = end_use_rows({"one": CURVES, "two": CURVES})
    assert header == ["workload", "best, ms", "good", "poor", "hopeless"]
    assert [row[0] for row in rows] == ["one", "two", "mean"]
    assert rows[0][1] == 1e3
    assert rows[-1][2:] == (1.5, 3.0, 4.0)
    assert (metrics["two_poor_trials95"], metrics["hopeless_trials95"]) == (3.0, 4.0)


@pytest.mark.parametrize("models", [[], ["random", "random"]])
def test_models_are_to_differ(models: list[str]) -> None:
    with pytest.raises(ValueError, match=r"end_use\.models must be different models"):
        EndUseConfig(models=models).contestants()


def test_models_are_trained_and_tried_once(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ConfigStore.instance().repo, "evaluate_schema.yaml", raising=False)
    asked = ["suite=end_use", "debug=tiny", "data.path=tiny.parquet"]
    found = scripts("benchmark", "run", *asked)
    assert (found["num_trials"], found["num_seeds"]) == (4, 1)
    assert 1 <= min(found["treegru_trials95"], found["roofline_trials95"]) <= 4
    with (scripts.folder / "run" / "end_use.csv").open(newline="") as file:
        rows = [(row["model"], row["trial"]) for row in csv.DictReader(file)]
    assert rows == [(model, str(trial)) for model in ("treegru", "roofline") for trial in range(1, 5)]
    kept = sorted((path, path.stat().st_mtime_ns) for path in (scripts.folder / "run").rglob("*.safetensors"))
    assert len(kept) == 1  # of treegru
    again = scripts("benchmark", "run", *asked)
    assert again["treegru_trials95"] == found["treegru_trials95"]
    assert [(path, path.stat().st_mtime_ns) for path, _ in kept] == kept
