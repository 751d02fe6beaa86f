from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.measure.measurement import Failure, Measurement
from codegen.schedule.candidates import Candidates
from search.arms import Plan
from search.encoding import generator_to_json
from search.journal import JournaledPlan, Outcome, open_journal, read_journal
from tests.search.killing import kill_when_longer, lines_without_times
from tests.search.spaces import LinearModel, RuggedMeasurer
from tests.search.tuning_run import CONFIG, IDENTITY, VARIANTS, tuning_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, variant: str) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "journal.jsonl"
    tuning_run(path, RuggedMeasurer(), LinearModel(), variant)
    return path


def test_a_run_killed_again_and_again_proposes_the_same_candidates(
    undisturbed: Path, tmp_path: Path, variant: str
) -> None:
    path = tmp_path / "journal.jsonl"
    dice = random.Random(3)
    num_killed = 0
    for _ in range(30):
        command = [sys.executable, str(ROOT / "tests/search/tuning_run.py"), str(path), variant]
        process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        size = path.stat().st_size if path.exists() else 0
        kill_when_longer(process, [path], size + dice.randrange(undisturbed.stat().st_size // 3))
        if process.returncode == 0:
            break
        assert process.returncode == -9
        num_killed += 1
    assert process.returncode == 0
    assert num_killed >= 2
    assert lines_without_times(path) == lines_without_times(undisturbed)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(share=st.floats(0, 1), garbage=st.sampled_from([b"", b"\0\0\0\n", b'{"plan": 1', b"[]\n"]))
def test_a_journal_cut_anywhere_continues_the_same_sequence(
    undisturbed: Path, tmp_path_factory: pytest.TempPathFactory, variant: str, share: float, garbage: bytes
) -> None:
    whole = undisturbed.read_bytes()
    header = whole.index(b"\n") + 1
    content = whole[: header + round(share * (len(whole) - header))]
    # After a cut inside a line, more bytes would make a damaged line that is not the last.
    content += garbage if content.endswith(b"\n") else b""
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    path.write_bytes(content)
    tuning_run(path, RuggedMeasurer(), LinearModel(), variant)
    assert lines_without_times(path) == lines_without_times(undisturbed)


def test_a_finished_run_is_replayed_without_measuring(
    undisturbed: Path, tmp_path: Path, variant: str
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(undisturbed.read_bytes())
    measurer, model = RuggedMeasurer(), LinearModel()
    result = tuning_run(path, measurer, model, variant)
    assert measurer.num_measured == 0
    assert len(result.history) == CONFIG.num_trials
    sizes = [12, 22, 32, 42, 52] if "known" in variant else [10, 20, 30, 40]
    if variant == "ahead, some known":
        sizes.insert(0, 12)  # one for the first plan, one beside it
    assert model.refit_sizes == ([] if "without" in variant else sizes)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_elapsed_time_goes_on_from_the_journal(undisturbed: Path, tmp_path: Path, variant: str) -> None:
    lines = undisturbed.read_bytes().splitlines(keepends=True)
    line = json.loads(lines[-2])
    line["elapsed_s"] = 5_000.0
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join([*lines[:-2], json.dumps(line).encode(), b"\n"]))
    assert tuning_run(path, RuggedMeasurer(), LinearModel(), variant).history[-1].elapsed_s >= 5_000.0


@pytest.mark.parametrize(
    "other", [{"space": "one sketch"}, {"seed": 12}, {"config": {"num_trials": 64}}, {"model": "none"}]
)
def test_a_journal_of_another_run_is_refused_naming_both(
    undisturbed: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(undisturbed.read_bytes())
    ((name, value),) = other.items()
    difference = f"{name} is {IDENTITY.get(name)!r} in the journal and {value!r} now"
    with pytest.raises(ValueError, match=re.escape(difference)):
        open_journal(path, {**IDENTITY, **other})
    assert path.read_bytes() == undisturbed.read_bytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"important notes", "is not a tuning journal"),
        (b'{"a": 1}\n', "is not a tuning journal"),
        (b"trial,latency\n1,2\n", "line 1 is not a JSON object"),
        (b"[" * 100_000 + b"\n", "line 1 is not a JSON object"),
        (b'{"journal":99,"identity":{}}\n', "has version 99, this program reads version 2"),
        (b'{"journal":2}\n', "its header does not say which run it is of"),
        (b'{"journal":2,"identity":[1]}\n', "its header does not say which run it is of"),
        (b'{"journal":2,"identity":{}}\nx\n{}\n', "line 2 is not a JSON object"),
        (b'{"journal":2,"identity":{}}\n{"plan":0,"trial":0}\n', "is damaged: line 2"),
    ],
)
def test_a_file_that_is_no_sound_journal_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        open_journal(path, {})
    assert path.read_bytes() == content


def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path, {}), pytest.raises(ValueError, match="in use"):
        open_journal(path, {})
    open_journal(path, {}).close()


@pytest.mark.parametrize("torn", [b"", b'{"plan":9,"tri', b'{"plan":9,"tri\n'])
def test_a_journal_is_read_while_its_run_goes_on(undisturbed: Path, tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    content = undisturbed.read_bytes() + torn
    path.write_bytes(undisturbed.read_bytes())
    with open_journal(path, IDENTITY) as journal:
        path.write_bytes(content)
        found = read_journal(path)
        assert found.identity == IDENTITY
        assert [len(each.outcomes) for each in found.plans] == [len(each.outcomes) for each in journal.plans]
    assert path.read_bytes() == content


def test_reading_refuses_what_is_no_sound_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for content, complaint in [
        (b"", "is not a tuning journal"),
        (b'{"journal":99,"identity":{}}\n', "has version 99"),
        (b'{"journal":2,"identity":{}}\n{"plan":0,"trial":0}\n', "is damaged: line 2"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=complaint):
            read_journal(path)


def test_plans_and_outcomes_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "journal.jsonl"
    rng = np.random.default_rng(5)
    candidates = Candidates(np.array([0, 1]), np.array([[2, 3], [4, 0]]))
    entry = JournaledPlan(Plan(candidates, ("search", "control")), generator_to_json(rng), {"x": 0.1})
    outcomes = [
        Outcome(Measurement((0.1, 1 / 3), compile_s=1e-17, unsteadiness=1 / 7), 0.7),
        Outcome(Measurement((), Failure("compile", "line 1 \u2713", "run it")), 2 / 3),
    ]
    with open_journal(path, {"seed": 5}) as journal:
        journal.append_plan(entry)
        for outcome in outcomes:
            journal.append_outcome(outcome)
    with open_journal(path, {"seed": 5}) as journal:
        (found,) = journal.plans
    np.testing.assert_array_equal(found.plan.candidates.keys(), candidates.keys())
    assert found.plan.arms == entry.plan.arms
    assert found.outcomes == outcomes
    assert found.searcher == {"x": 0.1}
    twin = np.random.default_rng(0)
    twin.bit_generator.state = found.generator
    assert twin.random() == rng.random()


def test_every_line_is_in_the_file_before_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    plan = Plan(Candidates(np.zeros(2, np.int64), np.array([[0], [1]])), ("search", "search"))
    with open_journal(path, {}) as journal:
        journal.append_plan(JournaledPlan(plan, generator_to_json(np.random.default_rng(0)), {}))
        assert path.read_bytes().count(b"\n") == 2
        journal.append_outcome(Outcome(Measurement((1.0,)), 1.0))
        assert path.read_bytes().count(b"\n") == 3
        assert path.read_bytes().endswith(b"\n")


def test_a_generator_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="MT19937"):
        generator_to_json(np.random.Generator(np.random.MT19937(1)))
