"""metrics.json is flat, finite and whole."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.running.outputs import code_version, write_metrics, write_text


@given(
    metrics=st.dictionaries(
        st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()
    )
)
def test_metrics_are_read_back_as_they_were_written(tmp_path_factory, metrics) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("run") / "metrics.json"
    write_metrics(path, metrics)
    assert json.loads(path.read_text()) == metrics


def test_array_scalars_and_truth_values_become_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics(path, {"a": np.float32(0.5), "b": np.int64(3), "c": True})
    assert path.read_text() == '{\n  "a": 0.5,\n  "b": 3,\n  "c": 1\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1.0]])
def test_a_value_that_is_no_finite_number_is_named_and_harms_nothing(tmp_path: Path, value: object) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "{}")
    with pytest.raises(ValueError, match="metric loss"):
        write_metrics(path, {"loss": value})  # type: ignore[dict-item]
    assert path.read_text() == "{}"


def test_a_text_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match=r"taken'$"):
        write_text(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_without_a_repository_the_version_is_the_package_version(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    assert code_version(tmp_path) == "1.2.3"


def test_in_a_repository_the_version_names_the_commit(tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert head.stdout.startswith(code_version(tmp_path))
