"""The comparison of searches on recorded spaces, on a made-up kernel of two devices."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from datasets.recorded import RecordedRow, RecordedTable, recorded_table
from datasets.recorded_files import load_recorded
from datasets.t4_tables import write_t4
from scripts.suites.laboratory.comparison import standing_of
from scripts.suites.laboratory.contenders import (
    CONTENDERS,
    Ground,
    Trials,
    run_contender,
    source_order,
    why_left_out,
)
from scripts.suites.laboratory.peers import PEERS, run_peer
from scripts.suites.laboratory.report import laboratory_metrics
from scripts.suites.laboratory.trial_log import TrialLog
from scripts.suites.laboratory.verdicts import score_rows
from tests.costmodel.gemm_space import gemm_table
from tests.scripts.tiny import Scripts, refusal

QUICK = ["laboratory.num_repeats=2", "laboratory.trials=40", "laboratory.num_processes=1"]


def table(device: str = "A", shift: float = 0.0, offset: float = 1.0, kernel: str = "gemm") -> RecordedTable:
    """512 configurations, a few of which fail; the best lies elsewhere on another device."""
    rows = []
    for number in range(512):
        places = np.unravel_index(number, (8, 8, 4, 2))
        bowl = sum((float(place) - centre - shift) ** 2 for place, centre in zip(places, (3, 5, 1, 0)))
        time_s = 1e-3 * (offset + bowl + abs(np.sin(3.0 * number)))
        failure = "compile" if number % 50 == 7 else None
        configuration = dict(zip(("block", "tile", "unroll", "cache"), (2 ** int(p) for p in places)))
        rows.append(RecordedRow(configuration, None if failure else time_s, failure, 0.3, 0.1))
    return recorded_table(kernel, device, ["block", "tile", "unroll", "cache"], rows)


def ground(**options: int | None) -> Ground:
    return Ground("gemm__A", table(), (table("B", 0.5),), **options)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    write_t4(table(), folder / "gemm__A.json")
    write_t4(table("B", 0.5), folder / "gemm__B.json")
    write_t4(table("C", 0.0, 1e6, "flat"), folder / "flat__C.json")
    return folder


def trees_ground() -> Ground:
    """A space whose points are loop trees, which a tree network needs."""
    return Ground("gemm__RTX_3090", gemm_table(), (gemm_table("RTX_2080_Ti", 0.5),), num_source_records=64)


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "tpe" or find_spec("optuna")])
def test_every_contender_runs_and_repeats_itself(name: str) -> None:
    on = trees_ground() if CONTENDERS[name].model == "tree" else ground()
    first, second = (run_contender(CONTENDERS[name], on, 40, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.times_s, second.times_s)
    assert len(first.times_s) == 40
    np.testing.assert_allclose(first.elapsed_s, 0.4 * np.arange(1, 41))


def scores(name: str, on: Ground, num: int = 6) -> float:
    runs = [run_contender(CONTENDERS[name], on, 100, seed) for seed in range(num)]
    return standing_of(on.table, on.name, name, runs, 100).score


def test_the_default_beats_searches_without_a_model_and_pretraining_helps() -> None:
    plain = scores("annealer", ground())
    assert plain > max(scores(name, ground()) for name in ("random", "genetic", "annealing")) + 0.05
    assert scores("annealer_pretrained", ground()) > plain
    assert scores("annealer_pretrained", ground(num_source_records=100)) > plain


def test_the_tree_network_beats_random_search_on_matrix_products() -> None:
    on, num_trials = trees_ground(), 60
    runs = [run_contender(CONTENDERS["annealer_tree"], on, num_trials, seed=1)]
    assert standing_of(on.table, on.name, "annealer_tree", runs, num_trials).score > 0.3  # random has 0


def test_a_search_over_loop_trees_is_for_matrix_products_alone(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.peers=false", *QUICK]
    options = [*here, "laboratory.spaces=[gemm__A]"]
    found = scripts("evaluate", "trees", *options, "laboratory.searches=[random,annealer_tree]")
    assert "annealer_tree is left out on gemm__A: only CLBlast's matrix product" in capsys.readouterr().out
    assert "score_gemm__A_annealer_tree" not in found
    sentence = refusal(
        capsys, scripts, "evaluate", *options, "laboratory.searches=[annealer_tree_pretrained]"
    )
    assert "annealer_tree_pretrained is left out on gemm__A" in sentence
    odd = replace(trees_ground(), sources=(table(),))
    assert why_left_out("annealer_tree", odd) is None
    assert "has block, tile" in (why_left_out("annealer_tree_pretrained", odd) or "")


def test_only_records_that_are_drawn_make_pretrained_runs_differ() -> None:
    assert ground().is_looked_up
    assert not ground(num_source_records=100).is_looked_up
    assert ground(num_source_records=100).has_sources_of_same_knobs
    other = recorded_table("other", "A", ["block"], [RecordedRow({"block": 2}, 1e-3)])
    assert not Ground("gemm__A", table(), (other,)).is_looked_up
    assert not Ground("gemm__A", table(), (other,)).has_sources_of_same_knobs
    first, second = (run_contender(CONTENDERS["annealer_pretrained"], ground(), 30, seed) for seed in (1, 2))
    np.testing.assert_array_equal(first.times_s, second.times_s)


def test_the_source_order_is_walked_as_it_stands() -> None:
    found = source_order(ground(), 30, seed=0)
    source = table("B", 0.5).times_s
    rows = np.argsort(np.where(np.isnan(source), np.inf, source), kind="stable")[:30]
    np.testing.assert_array_equal(found.times_s, table().times_s[rows])


def test_the_suite_leaves_tables_a_plot_and_metrics(scripts: Scripts, recorded: Path) -> None:
    searches = "laboratory.searches=[random,genetic,annealer,annealer_pretrained,source_order]"
    results = scripts.folder / "results"
    options = [
        f"laboratory.folder={recorded}",
        f"laboratory.results={results}",
        "laboratory.peers=false",
        *QUICK,
    ]
    found = scripts("evaluate", "run", "suite=search", searches, *options)
    log = scripts.folder / "run" / "trials.jsonl"
    kept = log.read_text()
    records = {
        key["space"]: key["records"] for key in (json.loads(line)["key"] for line in kept.splitlines())
    }
    assert records["gemm__A"] == load_recorded(recorded / "gemm__A.json").digest != records["gemm__B"]
    first, rest = kept.split("\n", 1)
    log.write_text(rest + first[:50])  # one batch was being written when the run was killed
    again = scripts("evaluate", "run", "suite=search", "laboratory.searches=[random,annealer]", *options)
    assert again == found
    assert sorted(log.read_text().splitlines()) == sorted([*kept.splitlines(), first[:50]])
    names = {"score_mean", "score_mean_pretrained", "score_gemm__A_genetic", "score_gemm__B_source_order"}
    assert names | {"budget_score_gemm__A_random", "num_spaces"} <= set(found)
    assert (found["num_spaces"], found["num_spaces_not_flat"]) == (3, 2)
    assert "score_flat__C_source_order" not in found
    mean = (found["score_gemm__A_annealer"] + found["score_gemm__B_annealer"]) / 2
    assert found["score_mean"] == pytest.approx(mean)
    files = {path.name for path in (scripts.folder / "run").iterdir()}
    assert {"runs.csv", "curves.csv", "scores.csv", "search.md", "search.png", "metrics.json"} <= files
    assert {path.name for path in results.iterdir()} == {"scores.csv", "search.md", "search.png"}
    with (results / "scores.csv").open(newline="") as file:
        rows = {(row["space"], row["search"]): row for row in csv.DictReader(file)}
    assert len(rows) == 13
    row = rows["gemm__A", "genetic"]
    assert float(row["low"]) <= float(row["score"]) <= float(row["high"])
    assert float(row["score"]) == pytest.approx(found["score_gemm__A_genetic"], abs=1e-4)
    with (scripts.folder / "run" / "curves.csv").open(newline="") as file:
        last = [row for row in csv.DictReader(file) if row["search"] == "random"][-1]
    assert (last["trial"], float(last["elapsed_s"])) == ("40", pytest.approx(16.0))
    text = (scripts.folder / "run" / "search.md").read_text()
    assert "## flat__C, flat" in text
    assert text.count("| deterministic |") == 4  # the pretrained search and the source order, on two spaces
    assert "`deterministic` is a search whose runs are all the" in text
    assert rows["gemm__A", "source_order"]["chance"] == ""
    assert 0 < float(rows["gemm__A", "random"]["chance"]) <= 1


def test_a_mean_over_fewer_spaces_says_so() -> None:
    on, other = Ground("gemm__A", table()), Ground("gemm__B", table("B", 0.5))
    runs = [run_contender(CONTENDERS["random"], on, 60, seed) for seed in range(2)]
    standings = [standing_of(each.table, each.name, "random", runs, 60) for each in (on, other)]
    standings.append(standing_of(on.table, on.name, "genetic", runs, 60))
    header, (whole, part) = score_rows(standings)
    assert header == ["search", "gemm__A", "gemm__B", "mean"]
    assert whole[-1] == pytest.approx((whole[1] + whole[2]) / 2, abs=1e-3)  # type: ignore[operator]
    assert part == ["genetic", round(standings[2].score, 3), "", f"{standings[2].score:.3f} (1 of 2)"]


def test_means_that_the_metrics_lack_are_named(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.peers=false", *QUICK]
    searches = "laboratory.searches=[random,annealer]"
    found = scripts("evaluate", "flat", *here, searches, "laboratory.spaces=[flat__C]")
    words = (
        "metrics.json has no score_mean, score_mean_pretrained, kernel_tuner_best_mean: all spaces are flat"
    )
    assert words in capsys.readouterr().out
    assert "score_mean" not in found
    scripts("evaluate", "alone", *here, searches, "laboratory.spaces=[gemm__A]")
    words = "metrics.json has no score_mean_pretrained, kernel_tuner_best_mean: no search that they are of"
    assert words in capsys.readouterr().out


def test_a_curve_of_source_records_beside_none(scripts: Scripts, recorded: Path) -> None:
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.spaces=[gemm__A]", *QUICK]
    searches = ["laboratory.searches=[annealer,annealer_pretrained]", "laboratory.peers=false"]
    found = scripts("evaluate", "curve", *here, *searches, "laboratory.source_curve=[20,60]")
    with (scripts.folder / "curve" / "runs.csv").open(newline="") as file:
        runs = [(row["search"], float(row["score"])) for row in csv.DictReader(file)]
    names = ["annealer", "annealer_pretrained", "annealer_pretrained_20", "annealer_pretrained_60"]
    told = {name: np.array([score for search, score in runs if search == name]) for name in names}
    assert {len(each) for each in told.values()} == {2}
    for name in names:
        assert found[f"score_gemm__A_{name}"] == pytest.approx(told[name].mean())
    assert found["score_mean_pretrained"] == found["score_gemm__A_annealer_pretrained"]
    text = (scripts.folder / "curve" / "search.md").read_text()
    _, table = text.split("## Pretraining against none, run by run")
    gain = (told[names[3]] - told["annealer"]).mean()
    assert f"| gemm__A | {names[3]} | 2 | {told[names[3]].mean():.3f} | {gain:+.3f} |" in table
    assert f"| gemm__A | annealer | 2 | {told['annealer'].mean():.3f} |  |  |" in table


def test_what_other_code_has_found_is_not_replayed(tmp_path: Path) -> None:
    key, path = {"search": "random", "start": 0}, tmp_path / "trials.jsonl"
    runs = [Trials(np.array([1.0, np.nan]), np.array([0.5, 1.0]))]
    TrialLog(path, "old").add(key, runs)
    assert TrialLog(path, "old").find(key) is not None
    assert TrialLog(path, "new").find(key) is None
    unmarked = {name: value for name, value in json.loads(path.read_text()).items() if name != "code"}
    path.write_text(json.dumps(unmarked) + "\n")
    assert TrialLog(path, "old").find(key) is None


@pytest.mark.skipif(not find_spec("kernel_tuner"), reason="the extra peers is not installed")
@pytest.mark.parametrize("name", PEERS)
def test_kernel_tuner_searches_the_same_space(name: str) -> None:
    found, again = (run_peer(name, ground(), 40, seed=1) for _ in range(2))
    if name != "kernel_tuner_differential_evolution":  # starts from a Latin hypercube without a seed
        np.testing.assert_array_equal(found.times_s, again.times_s)
    assert 10 < len(found.times_s) <= 40
    finite = found.times_s[~np.isnan(found.times_s)]
    assert np.isin(finite, table().times_s).all()
    assert len(np.unique(finite)) == len(finite)


def test_a_lead_over_the_best_peer_is_counted() -> None:
    rng = np.random.default_rng(0)
    on = Ground("gemm__A", table())
    standings = []
    for name, shown in (("annealer", "annealer"), ("random", "kernel_tuner_pso")):
        runs = [run_contender(CONTENDERS[name], on, 60, seed) for seed in range(6)]
        standings.append(standing_of(on.table, on.name, shown, runs, 60))
    metrics = laboratory_metrics(standings, rng)
    assert metrics["num_ahead_significantly"] == 1
    assert metrics["kernel_tuner_best_mean"] == standings[1].score


def test_a_search_that_ends_early_is_judged_on_all_trials() -> None:
    on = Ground("gemm__A", table())
    whole = run_contender(CONTENDERS["random"], on, 100, seed=1)
    ended = Trials(whole.times_s[:20], whole.elapsed_s[:20])
    waited = Trials(
        np.append(ended.times_s, np.full(80, np.nan)), np.append(ended.elapsed_s, np.full(80, 8.0))
    )
    early, late = (standing_of(on.table, on.name, "random", [runs], 100) for runs in (ended, waited))
    np.testing.assert_array_equal(early.curves, late.curves)
    assert early.score == late.score
    at_once = standing_of(on.table, on.name, "random", [Trials(ended.times_s[:5], ended.elapsed_s[:5])], 100)
    assert at_once.curves.shape == (1, 100)  # it ended before the first trial that counts
    assert standing_of(on.table, on.name, "random", [Trials(np.zeros(0), np.zeros(0))], 100).score < 0


def test_a_space_that_is_too_small_is_named_and_left_out(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [RecordedRow({"block": 2**n}, 1e-3 * (n + 1)) for n in range(6)]
    write_t4(recorded_table("tiny", "A", ["block"], rows), recorded / "tiny__A.json")
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.searches=[random]", *QUICK]
    options = [*here, "laboratory.peers=false"]
    found = scripts("evaluate", "small", *options, "laboratory.spaces=[tiny__A,gemm__A]")
    assert "tiny__A is left out: with 6 configurations" in capsys.readouterr().out
    assert found["num_spaces"] == 1
    sentence = refusal(capsys, scripts, "evaluate", *options, "laboratory.spaces=[tiny*]")
    assert "tiny__A too small" in sentence


PRETRAINED_ONLY = "laboratory.searches=[annealer_pretrained,source_order]"


def test_a_search_that_has_nothing_to_learn_from_is_named_and_left_out(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.peers=false", *QUICK]
    alone = [*here, "laboratory.spaces=[flat__C]"]
    searches = "laboratory.searches=[random,annealer_pretrained]"
    found = scripts("evaluate", "alone", *alone, searches, "laboratory.source_curve=[50]")
    out = capsys.readouterr().out
    words = (
        "annealer_pretrained, annealer_pretrained_50: left out on flat__C, no other has its kernel and knobs"
    )
    assert words in out
    assert "score_flat__C_random" in found
    own = [*here, "laboratory.spaces=[gemm*]", searches, "laboratory.source=gemm__A"]
    found = scripts("evaluate", "own", *own)
    out = capsys.readouterr().out
    assert "annealer_pretrained: left out on gemm__A, laboratory.source is this very space" in out
    assert "score_gemm__B_annealer_pretrained" in found
    sentence = refusal(capsys, scripts, "evaluate", *alone, PRETRAINED_ONLY)
    assert "annealer_pretrained, source_order must have recorded spaces to learn from" in sentence
    assert "none for flat__C" in sentence


def test_strategies_of_kernel_tuner_are_said_to_be_left_out(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.suites.laboratory.comparison.has_kernel_tuner", lambda: False)
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.spaces=[gemm__A]", *QUICK]
    scripts("evaluate", "peers", *here, "laboratory.searches=[random]")
    sentence = "Kernel Tuner's strategies are left out: it is not installed (pip install -e '.[peers]')"
    assert sentence in capsys.readouterr().out
    scripts("evaluate", "none", *here, "laboratory.searches=[random]", "laboratory.peers=false")
    assert sentence not in capsys.readouterr().out


def test_a_file_that_nobody_chose_may_be_damaged(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recorded / "broken.json").write_text('{"results": [')
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.spaces=[gemm__A]", *QUICK]
    options = [*here, "laboratory.peers=false", PRETRAINED_ONLY]
    found = scripts("evaluate", "run", *options)
    assert "broken.json is no source of pretraining, as it cannot be read" in capsys.readouterr().out
    assert "score_gemm__A_annealer_pretrained" in found
    sentence = refusal(capsys, scripts, "evaluate", *options, "laboratory.source=broken")
    assert "broken.json is not JSON, or cut off" in sentence


def test_a_source_without_a_shared_knob_is_refused_before_anything_runs(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [RecordedRow({"width": n}, 1e-3 * (n + 1)) for n in range(20)]
    write_t4(recorded_table("other", "A", ["width"], rows), recorded / "other__A.json")
    here = ["suite=search", f"laboratory.folder={recorded}", "laboratory.spaces=[gemm*]", *QUICK]
    options = [*here, "laboratory.peers=false", "laboratory.searches=[random,annealer_pretrained]"]
    sentence = refusal(capsys, scripts, "evaluate", *options, "laboratory.source=other__A")
    assert (
        "laboratory.source=other__A has no knob in common with gemm__A, gemm__B: its knobs are width"
        in sentence
    )
    assert not list(scripts.folder.rglob("trials.jsonl"))


def test_mistakes_are_one_sentence(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPRANK_RECORDED", raising=False)
    suite = ["suite=search", *QUICK]
    here = [*suite, f"laboratory.folder={recorded}"]
    only_failures = {"configuration": {"x": 1}, "objectives": ["time"], "invalidity": "compile"}
    cases = [
        (["suite=serach"], "suite"),
        (suite, "neither is set"),
        ([*suite, "laboratory.folder=absent"], "is not a folder with recorded spaces"),
        ([*here, "laboratory.spaces=[conv*]"], "matches none of flat__C, gemm__A, gemm__B"),
        ([*here, "laboratory.searches=[gentic]"], "must be some of random"),
        ([*here, "laboratory.source=nothing"], "laboratory.source must be one of"),
        ([*here, "laboratory.num_repeats=1"], "num_repeats must be at least 2"),
        ([*here, "laboratory.num_source_records=1"], "num_source_records must be at least 2"),
        ([*here, "laboratory.source_curve=[1]"], "different numbers of at least 2, got [1]"),
        ([*here, "laboratory.source_curve=[9,9]"], "different numbers of at least 2, got [9, 9]"),
    ]
    for overrides, words in cases:
        assert words in refusal(capsys, scripts, "evaluate", *overrides)
    (recorded / "broken.json").write_text('{"results": [')
    assert "broken.json is not JSON, or cut off" in refusal(capsys, scripts, "evaluate", *here)
    (recorded / "broken.json").write_text(json.dumps({"results": [only_failures]}))
    assert "all 1 configurations failed" in refusal(capsys, scripts, "evaluate", *here)
