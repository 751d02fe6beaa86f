from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets.t4 import export_t4

INVALIDITIES = {"timeout", "compile", "runtime", "correctness", "constraints", "correct"}


def test_the_file_has_what_the_schema_requires(tmp_path: Path, make_record) -> None:
    export_t4([make_record(times_s=(2e-3, 4e-3)), make_record(failure="runtime")], tmp_path / "t4.json")
    document = json.loads((tmp_path / "t4.json").read_text())
    assert document["schema_version"] == "1.0.0"
    good, bad = document["results"]
    for result in (good, bad):
        assert {"configuration", "times", "invalidity", "correctness"} <= set(result)
        assert result["invalidity"] in INVALIDITIES
        assert result["configuration"] == {"sketch": "tiled", "tile_m": 8, "tile_n": 4}
        assert all(set(each) == {"name", "value", "unit"} for each in result["measurements"])
    assert good["times"] == {"compilation_time": 10.0, "runtimes": [2.0, 4.0]}
    assert good["measurements"] == [{"name": "time", "value": 3.0, "unit": "ms"}]
    assert (good["correctness"], bad["correctness"]) == (1, 0)
    assert bad["invalidity"] == "runtime"
    assert bad["times"]["runtimes"] == []


def test_a_file_holds_one_task_on_one_target(tmp_path: Path, make_record, other_target) -> None:
    path = tmp_path / "t4.json"
    others = [make_record(task="b"), make_record(target=other_target)]
    for records in ([], *([make_record(), other] for other in others)):
        with pytest.raises(ValueError, match="one task on one target"):
            export_t4(records, path)
    assert not path.exists()
