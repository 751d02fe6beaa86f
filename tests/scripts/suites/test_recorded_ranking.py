"""Models that rank recorded matrix products, on a made-up space of two devices."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from datasets.recorded import RecordedRow, recorded_table
from datasets.t4_tables import write_t4
from scripts.suites.recorded_ranking import SCORERS, RecordedSpace, divided
from tests.costmodel.gemm_space import gemm_table
from tests.scripts.tiny import Scripts, refusal


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    write_t4(gemm_table(), folder / "gemm__RTX_3090.json")
    write_t4(gemm_table("RTX_2080_Ti", 0.5), folder / "gemm__RTX_2080_Ti.json")
    write_t4(
        recorded_table("other", "A100", ["x"], [RecordedRow({"x": 1}, 1e-3)]), folder / "other__A100.json"
    )
    return folder


def test_all_models_are_judged_on_both_devices(scripts: Scripts, recorded: Path) -> None:
    results = scripts.folder / "results"
    options = ["suite=recorded_ranking", f"ranking.folder={recorded}", f"ranking.results={results}"]
    found = scripts("evaluate", "ranking", *options, "ranking.num_learnt=[60]", "ranking.num_repeats=1")
    for name in SCORERS:
        assert found[f"{name}_60_own_pairwise_accuracy"] > 0.7
        assert 0 < found[f"{name}_60_other_top5"] <= 1
    with (results / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * len(SCORERS)
    assert "| gemm__RTX_3090 | gemm__RTX_2080_Ti | 60 | tree |" in (results / "ranking.md").read_text()


def test_no_kernel_that_teaches_judges() -> None:
    space = RecordedSpace("gemm", gemm_table())
    learnt, judged = divided(space, 100, 300, np.random.default_rng(0))
    assert (len(learnt), len(judged)) == (100, 300)
    assert not np.isin(space.kernels[judged], space.kernels[learnt]).any()
    with pytest.raises(ValueError, match="gemm has 512 configurations, too few to learn from 511"):
        divided(space, 511, 300, np.random.default_rng(0))


def test_mistakes_are_one_sentence(
    scripts: Scripts, recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPRANK_RECORDED", raising=False)
    suite = ["suite=recorded_ranking"]
    here = [*suite, f"ranking.folder={recorded}"]
    cases = [
        (suite, "neither is set"),
        ([*here, "ranking.spaces=[conv*]"], "matches none of"),
        ([*here, "ranking.spaces=[other*]"], "only CLBlast's matrix product"),
        ([*here, "ranking.num_learnt=[1]"], "must be at least 2"),
    ]
    for overrides, words in cases:
        assert words in refusal(capsys, scripts, "evaluate", *overrides)
