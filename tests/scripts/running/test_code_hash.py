"""The hash of an object's code: it changes with what the object depends on, and with nothing else."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from costmodel.encoders.baselines import ConstantModel
from costmodel.encoders.context_treegru import ContextTreeGRUConfig
from costmodel.encoders.gnn import GNNConfig
from scripts.running.code_hash import code_hash, folders_hash


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("costmodel.encoders.context_treegru", True),
        ("costmodel.encoders.treegru", True),
        ("costmodel.network", True),
        ("costmodel.encoders.gnn", False),
    ],
)
def test_only_the_code_that_an_object_depends_on_counts(
    module: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ContextTreeGRUConfig()
    before = code_hash(config)
    assert before == code_hash(config)
    changed = tmp_path / "changed.py"
    shutil.copy(str(sys.modules[module].__file__), changed)
    changed.write_text(changed.read_text() + "# changed\n")
    monkeypatch.setattr(sys.modules[module], "__file__", str(changed))
    assert (code_hash(config) != before) == counts


def test_the_code_of_several_objects_counts() -> None:
    both = code_hash(ContextTreeGRUConfig(), GNNConfig())
    assert len({both, code_hash(ContextTreeGRUConfig()), code_hash(ConstantModel())}) == 3


def test_the_hash_of_folders_knows_their_sources_and_no_others(tmp_path: Path) -> None:
    for name in ("one/a.py", "one/b/c.py", "two/d.py", "one/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = folders_hash(tmp_path, "one")
    (tmp_path / "two/d.py").write_text("2")
    (tmp_path / "one/notes.txt").write_text("2")
    assert folders_hash(tmp_path, "one") == before
    (tmp_path / "one/b/c.py").write_text("2")
    assert folders_hash(tmp_path, "one") != before
