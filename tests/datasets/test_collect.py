from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from codegen.schedule.candidates import Candidates
from datasets.collect import collect
from datasets.plan import CollectConfig
from datasets.record import Record
from datasets.store import RecordStore

SCRIPT = Path(__file__).with_name("collect_tiny.py")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect_tiny", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load_script()
CONFIG = CollectConfig(num_trials=60, round_size=10, repeat_share=0.1, mutated_share=0.5)


def test_shares_and_counts_are_as_configured(tmp_path: Path) -> None:
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], CONFIG)
    assert [record.trial for record in records] == list(range(60))
    sources = Counter(record.source for record in records)
    assert sources["repeat"] == 6
    assert sources["mutated"] == 25  # none in the first round
    assert sources["random"] == 29


def test_a_share_is_what_the_search_proposes(tmp_path: Path) -> None:
    config = replace(CONFIG, mutated_share=0.3, search_share=0.1)
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], config, search=True)
    found = [record for record in records if record.source == "search"]
    assert len(found) == 6
    assert all(record.knobs["k1"] == record.knobs["k2"] == 1 for record in found)
    assert len({record.candidate_key for record in records if record.source != "repeat"}) == 54


def test_random_candidates_take_the_place_of_what_a_search_does_not_find(tmp_path: Path) -> None:
    config = replace(CONFIG, mutated_share=0, search_share=0.5)
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], config, search=True)
    sources = Counter(record.source for record in records)
    assert (sources["search"], sources["random"]) == (6, 48)  # even values of k0: there are no more


def test_a_collection_with_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    smaller = replace(CONFIG, num_trials=33, mutated_share=0.3, search_share=0.2)
    larger = replace(smaller, num_trials=60)
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    first = collected(tmp_path / "r.db", workloads, smaller, search=True)
    added = collected(tmp_path / "r.db", workloads, larger, search=True)
    assert [record.trial for record in added] == list(range(33, 60))
    whole = collected(tmp_path / "whole.db", workloads, larger, search=True)
    assert identities(whole) == identities(first + added)


def test_no_candidate_is_measured_twice_but_as_a_repeat(tmp_path: Path) -> None:
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], CONFIG)
    fresh = [record.candidate_key for record in records if record.source != "repeat"]
    repeats = [record for record in records if record.source == "repeat"]
    assert len(set(fresh)) == len(fresh)
    assert len({record.candidate_key for record in repeats}) == len(repeats)
    first_trial = {record.candidate_key: record.trial for record in records[::-1]}
    for repeat in repeats:
        assert repeat.failure is None
        assert first_trial[repeat.candidate_key] // 10 < repeat.trial // 10
    assert all(record.knobs["k0"] % 2 == 0 for record in records)


def test_repeats_are_spread_over_the_rounds(tmp_path: Path) -> None:
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], CONFIG)
    assert len({record.trial // 10 for record in records if record.source == "repeat"}) >= 4


def test_mutants_are_faster_than_random_candidates(tmp_path: Path) -> None:
    config = CollectConfig(num_trials=100, round_size=10, num_parents=4)
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(30, num_knobs=6))], config)
    latency_s = {
        source: np.mean([r.latency_s for r in records if r.source == source and r.failure is None])
        for source in ("random", "mutated")
    }
    assert latency_s["mutated"] < 0.9 * latency_s["random"]


def test_failures_are_kept_with_their_kind(tmp_path: Path) -> None:
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(3, num_knobs=2))], CONFIG)
    failed = [record for record in records if record.failure is not None]
    assert failed
    assert all(record.failure.kind == "timeout" and record.knobs["k1"] == 0 for record in failed)


def test_a_space_smaller_than_the_budget_ends_early_and_complete(tmp_path: Path) -> None:
    records = collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(4, num_knobs=2))], CONFIG)
    fresh = [record for record in records if record.source != "repeat"]
    assert len(fresh) == 2 * 4
    assert len(records) < 60


def test_a_second_call_measures_nothing(tmp_path: Path) -> None:
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    collected(tmp_path / "r.db", workloads, CONFIG)
    pool = tiny.TinyPool()
    assert collected(tmp_path / "r.db", workloads, CONFIG, pool) == []
    assert pool.jobs == []


def test_a_larger_budget_continues(tmp_path: Path) -> None:
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    collected(tmp_path / "r.db", workloads, CONFIG)
    larger = CollectConfig(num_trials=80, round_size=10, repeat_share=0.1, mutated_share=0.5)
    added = collected(tmp_path / "r.db", workloads, larger)
    assert [record.trial for record in added] == list(range(60, 80))
    assert identities(collected(tmp_path / "whole.db", workloads, larger)[60:]) == identities(added)


@pytest.mark.parametrize("num_trials", [20, 60])
def test_a_last_round_that_was_cut_short_is_continued_not_drawn_again(
    tmp_path: Path, num_trials: int
) -> None:
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    smaller = CollectConfig(num_trials=num_trials, round_size=32, repeat_share=0.1)
    larger = replace(smaller, num_trials=80)
    first = collected(tmp_path / "r.db", workloads, smaller)
    added = collected(tmp_path / "r.db", workloads, larger)
    assert [record.trial for record in added] == list(range(num_trials, 80))
    assert identities(collected(tmp_path / "whole.db", workloads, larger)) == identities(first + added)


def test_another_seed_skips_what_is_stored(tmp_path: Path) -> None:
    workloads = [tiny.workload("a", tiny.TinySpace(6))]
    first = collected(tmp_path / "r.db", workloads, CollectConfig(seed=0, num_trials=40, repeat_share=0))
    second = collected(tmp_path / "r.db", workloads, CollectConfig(seed=1, num_trials=40, repeat_share=0))
    assert len(second) == 40
    assert not {record.candidate_key for record in first} & {record.candidate_key for record in second}


@pytest.mark.parametrize("changed", [{"cache": "flushed"}, {"compiler": "another"}])
def test_records_under_other_conditions_are_not_taken_for_done(tmp_path: Path, changed) -> None:
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    first = collected(tmp_path / "r.db", workloads, CONFIG)
    other = replace(tiny.CONDITIONS, **changed)
    again = collected(tmp_path / "r.db", workloads, CONFIG, conditions=other)
    assert identities(again) == identities(first)
    assert {(r.cache, r.compiler) for r in again} == {(other.cache, other.compiler)}
    assert collected(tmp_path / "r.db", workloads, CONFIG, conditions=other) == []
    assert collected(tmp_path / "r.db", workloads, CONFIG) == []


def test_another_version_of_the_code_goes_on_where_the_program_and_its_space_are_the_same(
    tmp_path: Path,
) -> None:
    newer = replace(tiny.CONDITIONS, code_version="v2")
    workloads = [tiny.workload("a", tiny.TinySpace(12))]
    collected(tmp_path / "r.db", workloads, CONFIG)
    assert collected(tmp_path / "r.db", workloads, CONFIG, conditions=newer) == []
    wider = [tiny.workload("a", tiny.TinySpace(12, num_knobs=4))]
    assert len(collected(tmp_path / "r.db", wider, CONFIG, conditions=newer)) == 60
    changed = [replace(tiny.workload("b", tiny.TinySpace(12)), task=workloads[0].task)]
    assert len(collected(tmp_path / "r.db", changed, CONFIG, conditions=newer)) == 60


def test_one_program_under_two_names_is_collected_once(tmp_path: Path) -> None:
    one = tiny.workload("a", tiny.TinySpace(12))
    twin = type(one)(type(one.task)("b", "matmul", {}), one.program_hash, one.program_text, one.space)
    records = collected(tmp_path / "r.db", [one, twin], CONFIG)
    assert {record.task for record in records} == {"a"}


def test_workloads_take_turns(tmp_path: Path) -> None:
    workloads = [tiny.workload(name, tiny.TinySpace(12)) for name in "ab"]
    records = collected(tmp_path / "r.db", workloads, CONFIG)
    assert [record.task for record in records[::10]] == list("ab" * 6)


def test_a_pool_that_loses_jobs_is_noticed(tmp_path: Path) -> None:
    class ForgetfulPool:
        def measure(self, jobs):
            yield from list(tiny.TinyPool().measure(jobs))[1:]

    with pytest.raises(RuntimeError, match="measured 9 of 10"):
        collected(tmp_path / "r.db", [tiny.workload("a", tiny.TinySpace(12))], CONFIG, ForgetfulPool())


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", -1), ("num_trials", 0), ("round_size", 0), ("num_parents", 0), ("mutated_share", 0.99)],
)
def test_an_impossible_configuration_is_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        CollectConfig(**{field: value})


def test_killing_the_process_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    rng = np.random.default_rng(0)
    printed: list[str] = []
    for _ in range(3):
        printed += lines_before_a_kill(path, int(rng.integers(1, 40)), float(rng.random() * 4e-3))
        with RecordStore(path) as store:
            stored = {line_of(record) for record in store.records(target=tiny.TARGET)}
            assert set(printed) <= stored
            assert store.verify() == []
    subprocess.run([sys.executable, SCRIPT, path], check=True, stdout=subprocess.PIPE)
    subprocess.run([sys.executable, SCRIPT, tmp_path / "whole.db"], check=True, stdout=subprocess.PIPE)
    with RecordStore(path) as killed, RecordStore(tmp_path / "whole.db") as whole:
        one, other = killed.records(target=tiny.TARGET), whole.records(target=tiny.TARGET)
    assert len(one) == 2 * 60
    assert identities(one) == identities(other)


def collected(
    path: Path, workloads, config: CollectConfig, pool=None, conditions=tiny.CONDITIONS, search=False
) -> list[Record]:
    proposer_of = (lambda _: OnesFirst()) if search else None
    with RecordStore(path) as store:
        pool = pool or tiny.TinyPool()
        return list(collect(workloads, pool, store, tiny.TARGET, config, conditions, proposer_of))


class OnesFirst:
    """Proposes candidates of three knobs whose last two are 1."""

    def propose(self, num: int, measured: np.ndarray, rng: np.random.Generator) -> Candidates:
        positions = np.ones((6, 3), dtype=np.int64)
        positions[:, 0] = 2 * np.arange(6)
        candidates = Candidates(np.zeros(6, dtype=np.int64), positions)
        return candidates[~np.isin(candidates.keys(), measured)][:num]


def identities(records: list[Record]) -> list[tuple[object, ...]]:
    """Everything but the time of day."""
    return sorted((r.task, r.trial, r.candidate_key, r.source, r.times_s) for r in records)


def lines_before_a_kill(path: Path, num_lines: int, delay_s: float) -> list[str]:
    """Start the script, let it store some trials and then run a moment longer; kill it."""
    process = subprocess.Popen([sys.executable, SCRIPT, path, "0.001"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(num_lines)]
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    return [line.strip() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]


def line_of(record: Record) -> str:
    return f"{record.task} {record.trial} {record.candidate_key}"
