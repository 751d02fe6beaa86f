from __future__ import annotations

from pathlib import Path

import pytest

from datasets.tasks import Task, load_tasks, save_tasks


def test_saved_tasks_are_loaded_again(tmp_path: Path) -> None:
    tasks = [
        Task("resnet18_c2", "conv2d", {"height": 56, "stride": [1, 1], "layout": "NCHW"}, count=4),
        Task("fc", "matmul", {"m": 1, "transpose_b": True}),
    ]
    save_tasks(tasks, tmp_path / "tasks.yaml")
    assert load_tasks(tmp_path / "tasks.yaml") == tasks


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "tasks.yaml"
    save_tasks([Task("old", "matmul", {"m": 4})], path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        save_tasks([Task("new", "matmul", {"m": 4})], path)
    assert [task.name for task in load_tasks(path)] == ["old"]


def test_the_count_may_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "- {name: a, operator: matmul, parameters: {m: 4}}")
    assert load_tasks(path) == [Task("a", "matmul", {"m": 4}, 1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must hold a list"),
        ("name: a", "must hold a list of tasks, got dict"),
        ("- a: [", "is not YAML"),
        ("- !!python/object/apply:os.getcwd []", "is not YAML"),
        ("- just text", "entry 1: a task is a mapping"),
        ("- {operator: matmul, parameters: {}}", "entry 1: name must be text, got None"),
        ("- {name: a, operator: 3, parameters: {}}", "operator must be text, got 3"),
        ("- {name: a, operator: matmul}", "parameters must map names to values"),
        ("- {name: a, operator: matmul, parameters: {m: 2020-01-01}}", "parameter m must be"),
        ("- {name: a, operator: matmul, parameters: {}, count: 0}", "count must be a positive whole number"),
        ("- {name: a, operator: matmul, parameters: {}, shape: 3}", "unknown field shape; allowed are name"),
        ("- &a {name: a, operator: matmul, parameters: {}}\n- *a", "more than one task a"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_its_name(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=reason) as caught:
        load_tasks(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.yaml"):
        load_tasks(tmp_path / "absent.yaml")


def written(folder: Path, text: str) -> Path:
    path = folder / "tasks.yaml"
    path.write_text(text)
    return path
