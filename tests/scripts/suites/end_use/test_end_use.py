"""The comparison in the tuner says how good every run was after each trial, and how soon it was good."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hydra.core.config_store import ConfigStore

from costmodel.metrics import FloatArray
from scripts.suites.end_use import sittings as sittings_module
from scripts.suites.end_use.contenders import EndUseConfig
from scripts.suites.end_use.report import end_use_metrics, speed_rows, standing_rows, timing_rows, trial_rows
from scripts.suites.end_use.standings import WorkloadRuns, standings
from scripts.suites.search_efficiency.curves import curves_of
from tests.scripts.tiny import Scripts

CURVES = {
    "good": curves_of([[5.0, 1.04, 1.0], [1.05, 1.05, 1.05]], 3),
    "poor": curves_of([[None, 9.0, 1.2], [2.0, 1.01, 1.01]], 3),
    "hopeless": np.full((2, 3), np.nan),
}
ELAPSED_S = {name: np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) for name in CURVES}
RUNS = WorkloadRuns("task", 1.0, CURVES, ELAPSED_S, 1, float("inf"), float("nan"))


def test_trials_and_seconds_are_counted_to_95_percent_of_the_best_known_speed() -> None:
    assert RUNS.trials_needed("good").tolist() == [2, 1]
    assert RUNS.trials_needed("poor").tolist() == [4, 2]
    assert RUNS.trials_needed("hopeless").tolist() == [4, 4]
    assert RUNS.seconds_needed("good").tolist() == [2.0, 4.0]
    assert RUNS.seconds_needed("poor").tolist() == [3.0, 5.0]
    assert RUNS.is_reached("poor").tolist() == [False, True]


def test_a_better_time_known_from_elsewhere_raises_the_mark() -> None:
    assert replace(RUNS, best_s=0.9).trials_needed("good").tolist() == [4, 4]


def test_speeds_are_shares_of_the_best_and_none_before_anything_has_succeeded() -> None:
    assert RUNS.speeds("good", 1) == pytest.approx([1 / 5, 1 / 1.05])
    assert RUNS.speeds("poor", 1) == pytest.approx([0.0, 1 / 2])
    assert RUNS.speeds("poor", 99) == pytest.approx([1 / 1.2, 1 / 1.01])


def test_a_saving_is_relative_to_the_reference_with_an_interval_around_it() -> None:
    good, poor, hopeless = standings([RUNS, RUNS], "poor", [1, 3])
    assert (good.trials.mean, poor.trials.mean, hopeless.trials.mean) == (1.5, 3.0, 4.0)
    # Both seeds say the same of it, if nothing of the trials themselves.
    assert (good.saving.mean, good.saving.low, good.saving.high) == pytest.approx((2.0, 2.0, 2.0))
    assert hopeless.saving.mean == pytest.approx(3 / 4)
    assert hopeless.saving.low < 3 / 4 < hopeless.saving.high
    assert (poor.saving.mean, poor.saving.low, poor.saving.high) == (1.0, 1.0, 1.0)
    assert (good.share_reached, poor.share_reached, hopeless.share_reached) == (1.0, 0.5, 0.0)
    assert list(good.speeds) == [1, 3]
    assert good.speeds[3].mean == pytest.approx((1 / 1.0 + 1 / 1.05) / 2)
    assert good.speeds[3].low < good.speeds[3].mean < good.speeds[3].high
    assert (hopeless.speeds[3].low, hopeless.speeds[3].high) == (0.0, 0.0)


def runs_of(seconds: FloatArray) -> WorkloadRuns:
    """Runs of one contender that reach the best known speed after so long, in one trial: shape (seeds,)."""
    return replace(RUNS, curves={"one": np.ones((len(seconds), 1))}, elapsed_s={"one": seconds[:, None]})


def test_an_interval_covers_the_truth_where_all_workloads_share_what_a_seed_learnt() -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        seeds = rng.lognormal(sigma=0.3, size=5)  # of mean exp(0.045)
        runs = [runs_of(seeds * rng.lognormal(sigma=0.3, size=5)) for _ in range(8)]
        (one,) = standings(runs, "one", [1])
        covered.append(one.seconds.low <= np.exp(0.09) <= one.seconds.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_a_single_seed_has_no_interval() -> None:
    found = standings([runs_of(np.array([2.0]))], "one", [1])
    assert np.isnan([found[0].seconds.low, found[0].trials.high]).all()
    _, rows = standing_rows(found, "one")
    assert rows == [("one", "1.00", "1.0", "2.0", "1.00", "100%")]


def test_the_interval_of_a_share_is_symmetric_and_covers_the_truth() -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        curves = 1 / rng.normal(0.9, 0.02, size=(3, 1))
        (one,) = standings([replace(RUNS, curves={"one": curves}, elapsed_s={"one": curves})], "one", [1])
        speed = one.speeds[1]
        assert speed.high - speed.mean == pytest.approx(speed.mean - speed.low)
        covered.append(speed.low <= 0.9 <= speed.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_tables_mark_what_is_only_a_bound() -> None:
    header, rows = trial_rows([RUNS, RUNS])
    assert header == ["trials to 95 %", "task", "task"]
    assert rows == [("good", "1.5", "1.5"), ("poor", "> 3.0", "> 3.0"), ("hopeless", "> 4.0", "> 4.0")]
    header, rows = speed_rows([RUNS], 2)
    assert header == ["speed after 2", "task"]
    assert rows == [("good", "0.96"), ("poor", "0.55"), ("hopeless", "0.00")]
    found = standings([RUNS], "poor", [3])
    _, lines = standing_rows(found, "poor")
    assert [line[0] for line in lines] == ["good", "poor", "hopeless"]
    assert [line[-1] for line in lines] == ["100%", "50%", "0%"]
    metrics = end_use_metrics([RUNS], found)
    assert (metrics["task_poor_trials95"], metrics["hopeless_trials95"]) == (3.0, 4.0)
    assert metrics["good_seconds95"] == 3.0
    assert metrics["poor_speed3"] == pytest.approx((1 / 1.2 + 1 / 1.01) / 2)


def test_a_table_says_what_sittings_the_best_known_times_are_of() -> None:
    timed = replace(RUNS, num_sittings=4, exchange_s=4.2e-8, scatter=0.032)
    assert timing_rows([RUNS, timed])[1] == [
        ("task", "1000", 1, "?", "?", "?"),
        ("task", "1000", 4, "42", "3.2%", "1.6%"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": [], "searches": []}, "at least one; got none"),
        ({"models": ["random"]}, "must have different names"),
        ({"searches": ["annealer"]}, "end_use.searches must be among random, .*; got 'annealer'"),
        ({"reference": "genetic"}, "end_use.reference must be among treegru, xgboost, roofline, random"),
        ({"num_rounds": 0}, "num_sittings and num_rounds must be at least 1, got 4 and 0"),
    ],
)
def test_who_takes_part_is_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EndUseConfig(**options)  # type: ignore[arg-type]


def test_all_are_tried_and_timed_again_once(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sittings_module, "ExchangeMeter", lambda target: SimpleNamespace(exchange_s=lambda: 4e-8)
    )
    monkeypatch.delitem(ConfigStore.instance().repo, "evaluate_schema.yaml", raising=False)
    asked = ["suite=end_use", "debug=tiny", "data.path=tiny.parquet", "end_use.from_trials=[treegru]"]
    asked += ["figure.num_seeds=2"]
    names = ["treegru", "roofline", "treegru_from_trials", "genetic", "random"]
    found = scripts("benchmark", "run", *asked)
    assert (found["num_trials"], found["num_seeds"]) == (4, 2)
    assert all(1 <= found[f"{name}_trials95"] <= 5 for name in names)
    run = scripts.folder / "run"
    with (run / "end_use.csv").open(newline="") as file:
        assert list(dict.fromkeys(row["contender"] for row in csv.DictReader(file))) == names
    assert all(f"| {name} |" in (run / "end_use.md").read_text() for name in names)
    (retimed,) = (run / "retimed").iterdir()
    assert retimed.name.startswith("matmul_512_")
    assert json.loads(retimed.read_text())[0]["latencies_s"]
    kept = sorted((path, path.stat().st_mtime_ns) for path in [retimed, *run.rglob("*.safetensors")])
    assert len(kept) == 3  # what treegru learnt with each seed, and the times
    again = scripts("benchmark", "run", *asked)
    assert {name: again[name] for name in again if "95" in name} == {n: found[n] for n in again if "95" in n}
    assert [(path, path.stat().st_mtime_ns) for path, _ in kept] == kept
    scripts("benchmark", "run", *asked, "end_use.num_sittings=2")
    assert len(json.loads(retimed.read_text())) == 2
