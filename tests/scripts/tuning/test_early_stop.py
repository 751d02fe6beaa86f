"""A search that ends where little is to be gained, as a command has it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.ops import make_operator
from codegen.schedule import build_space
from costmodel.losses import RankAndTime
from scripts.learning.guide import Guide
from scripts.options.models import ConstantOption
from scripts.options.searches import SEARCH_OPTIONS, AnnealerConfig, SearchOption
from scripts.tuning.measured_search import PoolMeasurer, search_identity
from tests.scripts.tiny import TARGET, Scripts

MATMUL = ["task=matmul", "task.m=16", "task.k=16", "task.n=32"]
QUICK = ["debug=tiny", "model=constant", "search=random", "search.plan.num_trials=2"]


@pytest.mark.parametrize("name", sorted(SEARCH_OPTIONS))
def test_every_search_can_be_told_to_stop_early(name: str) -> None:
    option: SearchOption = SEARCH_OPTIONS[name](stop_gain=0.01, gain_window=24)
    assert (option.budget().stop_gain, option.budget().gain_window) == (0.01, 24)
    assert SEARCH_OPTIONS[name]().budget().stop_gain is None


@pytest.mark.usefixtures("equal_times")
def test_a_run_says_that_it_stopped_early_and_can_go_on(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    early = ["search.trials=8", "search.stop_gain=0.01", "search.gain_window=3"]
    found = scripts("tune", "run", *MATMUL, *QUICK, *early)
    assert (found["stop_reason"], found["trials"]) == ("gain", 4)
    said = capsys.readouterr().out
    assert (
        "stopped early, after 4 of 8 trials: going by the last 3, the next plan should save less than" in said
    )
    assert "less than 0.01 of the best latency (search.stop_gain)" in said
    before = (scripts.folder / "run" / "history.csv").read_text()
    found = scripts("tune", "run", *MATMUL, *QUICK, "search.trials=8")
    assert (found["stop_reason"], found["trials"]) == ("trials", 8)
    assert (scripts.folder / "run" / "history.csv").read_text().startswith(before)
    assert "stopped early" not in capsys.readouterr().out


def test_when_to_stop_is_no_part_of_what_a_journal_is_of() -> None:
    operator = make_operator("matmul", {"m": 8, "k": 5, "n": 16})
    space = build_space(operator.program(), TARGET)
    measurer = PoolMeasurer(cast(MeasurePool, None), operator, space)
    guide = Guide(ConstantOption(), RankAndTime(), "none")
    options = [AnnealerConfig(), replace(AnnealerConfig(), stop_gain=0.1, gain_window=8, trials=5)]
    plain, early = (search_identity(each, guide, measurer, MeasureConfig(), 0) for each in options)
    assert plain == early
