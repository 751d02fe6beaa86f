"""Features on disk: what is read is what was made, and nothing that other code made is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from costmodel import feature_cache
from costmodel.dataset import dataset_of
from costmodel.feature_cache import FeatureCache
from costmodel.features.featurise import Featuriser
from datasets.table import RecordTable
from tests.costmodel.synthetic import sample
from tests.costmodel.test_dataset import recorded

TABLE = RecordTable((recorded("matmul", sample("matmul", 30)), recorded("conv2d", sample("conv2d", 20))))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features")


def refuse_to_featurise(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Featuriser, candidates: object) -> None:
        raise AssertionError("features were made anew")

    monkeypatch.setattr(Featuriser, "__call__", refuse)


def test_what_is_read_is_what_was_made(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset_of(TABLE, cache=cache)
    refuse_to_featurise(monkeypatch)
    names: list[str] = []
    read = dataset_of(TABLE, names.append, cache)
    assert names == ["matmul", "conv2d"]
    assert read.hash == made.hash
    for left, right in zip(read.tasks, made.tasks, strict=True):
        for ours, theirs in zip(left.trees.groups, right.trees.groups, strict=True):
            assert (ours.parents, ours.flows) == (theirs.parents, theirs.flows)
            np.testing.assert_array_equal(ours.nodes, theirs.nodes)
            np.testing.assert_array_equal(ours.programs, theirs.programs)
            np.testing.assert_array_equal(ours.rows, theirs.rows)


def test_other_times_of_the_same_candidates_need_no_other_features(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_of(TABLE, cache=cache)
    refuse_to_featurise(monkeypatch)
    slower = replace(TABLE.tasks[0], latency_s=2 * TABLE.tasks[0].latency_s)
    (task,) = dataset_of(RecordTable((slower,)), cache=cache).tasks
    assert task.latency_s[0] == slower.latency_s[0]


def test_fewer_candidates_and_other_code_are_made_anew(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_of(TABLE, cache=cache)
    assert cache.load(TABLE.tasks[0]) is not None
    assert cache.load(TABLE.tasks[0].take(np.arange(5))) is None
    target = replace(TABLE.tasks[0].target, l2_bytes=1)
    assert cache.load(replace(TABLE.tasks[0], target=target)) is None
    monkeypatch.setattr(feature_cache, "source_hash", lambda: "changed")
    assert cache.load(TABLE.tasks[0]) is None


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_damaged_file_counts_as_absent(cache: FeatureCache, kept: int) -> None:
    made = dataset_of(TABLE, cache=cache)
    for path in cache.folder.iterdir():
        path.write_bytes(path.read_bytes()[:kept])
    assert dataset_of(TABLE, cache=cache).hash == made.hash
