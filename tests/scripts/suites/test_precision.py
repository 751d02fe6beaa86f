"""What bfloat16 gains and costs: both precisions learn the same, and a refusal is a result."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence

import pytest

from costmodel import train
from scripts.suites.precision import Outcome, metrics_of, table_rows
from tests.scripts.tiny import Scripts, refusal

SUITE = ["suite=precision", "debug=tiny", "data.path=tiny.parquet", "data.test_fraction=0"]


def columns(scripts: Scripts) -> list[tuple[str, str]]:
    with (scripts.folder / "run" / "precision.csv").open(newline="") as file:
        return [(row["precision"], row["seed"]) for row in csv.DictReader(file)]


def test_both_precisions_are_trained_in_turn(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "check_bfloat16", lambda steps: None)  # whatever this CPU is good at
    found = scripts("benchmark", "run", *SUITE)
    assert columns(scripts) == [
        ("float32", "0"),
        ("bfloat16_first", "0"),
        ("bfloat16_first", "1"),
        ("float32", "1"),
    ]
    for name in ("float32", "bfloat16_first"):
        assert found[f"{name}_num_seeds"] == 2
        assert 0 < found[f"{name}_low_epoch_cpu_s"] <= found[f"{name}_epoch_cpu_s"]
        assert 0 <= found[f"{name}_pairwise_accuracy"] <= found[f"{name}_high_pairwise_accuracy"] <= 1
    assert {"speedup_epoch_cpu_s", "speedup_epoch_wall_s", "ahead_pairwise_accuracy"} <= set(found)
    assert found["num_epochs"] == 1
    assert "bfloat16_first_refused" not in found


def test_why_bfloat16_is_refused_is_told(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(steps: Sequence[Callable[[], None]]) -> None:
        raise ValueError("precision=bfloat16_first is refused: too slow")

    monkeypatch.setattr(train, "check_bfloat16", refuse)
    found = scripts("benchmark", "run", *SUITE, "model.training.precision=bfloat16_first")
    assert columns(scripts) == [("float32", "0"), ("float32", "1")]
    assert found["bfloat16_first_refused"] == "precision=bfloat16_first is refused: too slow"
    assert (found["float32_num_seeds"], found["bfloat16_first_num_seeds"]) == (2, 0)
    assert not {name for name in found if name.startswith(("speedup", "ahead"))}
    assert "bfloat16_first, 2 of 2 seeds: precision=bfloat16_first is refused" in capsys.readouterr().out


def test_seeds_are_compared_one_by_one() -> None:
    outcomes = [
        Outcome("float32", 0, 4.0, 2.0, 0.80),
        Outcome("bfloat16_first", 0, 2.0, 1.0, 0.79),
        Outcome("bfloat16_first", 1, 5.0, 4.0, 0.91),
        Outcome("float32", 1, 5.0, 2.0, 0.90),
    ]
    found = metrics_of(outcomes)
    assert (found["float32_epoch_cpu_s"], found["float32_high_epoch_cpu_s"]) == (4.5, 5.0)
    assert (found["speedup_epoch_cpu_s"], found["speedup_low_epoch_wall_s"]) == (1.5, 0.5)
    assert found["ahead_pairwise_accuracy"] == pytest.approx(0)
    assert [row[2:] for row in table_rows(found)] == [
        ["4.500 (4.000 to 5.000)", "2.000 (2.000 to 2.000)", "0.850 (0.800 to 0.900)"],
        ["3.500 (2.000 to 5.000)", "2.500 (1.000 to 4.000)", "0.850 (0.790 to 0.910)"],
        ["1.500x (1.000 to 2.000)", "1.250x (0.500 to 2.000)", "+0.000 (-0.010 to +0.010)"],
    ]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("precision.num_seeds=0", "precision.num_seeds must be at least 1"),
        ("precision.num_records=2", "precision.num_records=2 and validation_fraction=0.2 leave 1 and 0"),
        ("precision.validation_fraction=0.01", "validation_fraction=0.01 leave 3 and 0"),
        ("model=xgboost", "suite=precision measures the training of a network"),
    ],
)
def test_a_mistake_is_named(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    assert words in refusal(capsys, scripts, "benchmark", *SUITE, override)
