"""What tasks that are tuned together teach each other, and that a killed list learns the same again."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from codegen.ops import make_operator
from costmodel.dataset import TaskFeatures
from costmodel.predictor import Predictor
from scripts.tuning.lessons import MAX_LESSONS, Lesson, teach
from tests.costmodel.synthetic import space_of, task
from tests.scripts.tiny import Scripts, refusal
from tests.scripts.tuning.taught_run import fresh, journals, taught_run
from tests.search.killing import lines_without_times, output_despite_kills, total_bytes

ROOT = Path(__file__).resolve().parents[3]
TASKS = "".join(
    f"- {{name: {name}, operator: matmul, parameters: {{m: 16, k: 16, n: {n}}}}}\n"
    for name, n in (("first", 16), ("second", 32))
)


class Heard(Predictor):
    """Remembers what it was taught."""

    heard: list[TaskFeatures]

    def teach(self, lessons: list[TaskFeatures]) -> None:  # type: ignore[override]
        self.heard = lessons


def matmul(n: int) -> Lesson:
    return Lesson(make_operator("matmul", {"m": 8, "k": 8, "n": n}), task("matmul", 20, n))


def test_the_tasks_whose_work_is_most_alike_teach() -> None:
    predictor = Heard(fresh(), space_of("matmul"))
    lessons = {n: matmul(n) for n in (8, 16, 32, 64, 128, 256)}
    convolution = Lesson(
        make_operator("conv2d", {"height": 4, "width": 4, "in_channels": 4, "out_channels": 4}),
        task("conv2d", 20),
    )
    teach(predictor, lessons[64].operator, [convolution, *lessons.values()])
    expected = [lessons[n].features for n in (64, 32, 128, 16)]
    assert len(expected) == MAX_LESSONS
    assert [id(each) for each in predictor.heard] == [id(each) for each in expected]


def test_tasks_without_a_comparison_teach_nothing() -> None:
    known = task("matmul", 20)
    failed = TaskFeatures("failed", known.trees, np.full(20, np.nan), known.repeat_pairs)
    single = known.take(np.arange(1))
    operator = matmul(8).operator
    predictor = Heard(fresh(), space_of("matmul"))
    teach(predictor, operator, [Lesson(operator, each) for each in (failed, single, known)])
    assert [id(each) for each in predictor.heard] == [id(known)]


@pytest.mark.slow
def test_a_list_killed_at_random_points_learns_and_proposes_the_same(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    whole = taught_run(undisturbed)
    size = total_bytes(journals(undisturbed))
    dice = random.Random(7)
    for number in range(3):
        folder = tmp_path / str(number)
        command = [sys.executable, str(ROOT / "tests/scripts/tuning/taught_run.py"), str(folder)]
        output, num_killed = output_despite_kills(command, ROOT, journals(folder), size // 2, dice)
        assert num_killed >= 1
        assert output == whole
        for mine, theirs in zip(journals(folder), journals(undisturbed), strict=True):
            assert lines_without_times(mine) == lines_without_times(theirs)


def test_the_second_task_does_not_begin_at_random_when_the_first_has_taught_it(tmp_path: Path) -> None:
    taught_run(tmp_path / "together")
    taught_run(tmp_path / "alone", learn_together=False)
    arms = {run: lines_without_times(journals(tmp_path / run)[1])[1]["arms"] for run in ("together", "alone")}
    assert set(arms["together"]) == {"search"}
    assert set(arms["alone"]) == {"random"}


@pytest.mark.usefixtures("equal_times")
def test_a_list_that_learns_together_is_another_than_one_that_does_not(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    (scripts.folder / "tasks.yaml").write_text(TASKS)
    arguments = ["tasks=tasks.yaml", "debug=tiny", "model=xgboost", "checkpoint=none"]
    found = scripts("tune", "run", *arguments)
    assert (found["num_tuned"], found["trials"]) == (2, 12)
    said = refusal(capsys, scripts, "tune", *arguments, "learn_together=false", run="run")
    assert "learn_together is True in the journal and None now" in said
