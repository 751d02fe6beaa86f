"""scripts/records.py action=ansor: a log becomes recorded spaces, which a search then replays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from datasets.recorded_files import load_recorded, recorded_files
from tests.datasets.ansor_log import cached, failed, line, plain
from tests.scripts.in_process import run_script
from tests.scripts.tiny import Scripts, refusal

ELSEWHERE = "llvm -keys=cpu -mcpu=skylake-avx512"


def log(folder: Path, *lines: str) -> Path:
    path = folder / "log.json"
    path.write_text("".join(f"{each}\n" for each in lines))
    return path


def many(target: str, scale: float) -> list[str]:
    """300 records of two sketches, some failures, and each tenth measured again."""
    rng, lines = np.random.default_rng(0), []
    for number in range(300):
        rows = [2 ** int(power) for power in rng.integers(0, 6, 3)]
        steps = cached(rows, 16 * (number % 5), 1 + number % 4) if number % 3 else plain(number + 1)
        time_s = scale * (1.0 + abs(rows[0] - 4) + abs(rows[2] - 8) + number % 5)
        told = failed(steps, target=target) if number % 20 == 7 else line(steps, [time_s], target=target)
        lines += [told] * (2 if number % 10 == 0 else 1)
    return lines


def test_a_log_becomes_a_space_for_each_workload_and_target(tmp_path: Path) -> None:
    failing = failed(plain(), workload='["softmax", 8]')
    log(tmp_path, line(cached()), line(plain(), target=ELSEWHERE), failed(plain()), failing)
    options = ["action=ansor", "path=log.json", "folder=new/spaces"]
    finished = run_script("records", tmp_path, *options)
    assert finished.returncode == 0, finished.stderr
    assert re.search(
        r"softmax_8_\w+ on llvm_core-avx2_\S+ is left out: its records, 1, all failed", finished.stdout
    )
    (row,) = [each for each in finished.stdout.splitlines() if "e5-2673" in each and "matmul" in each]
    assert re.search(r" 2 .* 1 .* 2 .* 1 .* 2 ", row)  # records, failed, configurations, knobs, best ms
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {name: metrics[name] for name in ("num_spaces", "num_records", "num_failed")} == {
        "num_spaces": 2,
        "num_records": 4,
        "num_failed": 2,
    }
    files = recorded_files(tmp_path / "new" / "spaces")
    assert len(files) == 2
    for name, path in files.items():
        found = load_recorded(path)
        assert f"{found.kernel}__{found.device}" == name
        assert found.kernel.startswith("matmul_512_1024_64_float32_")
    before = contents(tmp_path / "new" / "spaces")
    assert run_script("records", tmp_path, *options).returncode == 0  # the same log again
    assert contents(tmp_path / "new" / "spaces") == before


def test_a_search_replays_an_imported_space(scripts: Scripts, tmp_path: Path) -> None:
    path = log(tmp_path, *many("llvm -mcpu=a", 1e-3), *many("llvm -mcpu=b", 2e-3))
    folder = tmp_path / "spaces"
    assert scripts("records", "import", "action=ansor", f"path={path}", f"folder={folder}")["num_spaces"] == 2
    (name, _) = recorded_files(folder)
    searches = "laboratory.searches=[random,genetic,annealer,annealer_pretrained]"
    quick = ["laboratory.num_repeats=2", "laboratory.trials=40", "laboratory.num_processes=1"]
    options = [f"laboratory.folder={folder}", "laboratory.peers=false", searches, *quick]
    found = scripts("evaluate", "search", "suite=search", *options)
    assert found["num_spaces"] == 2
    assert found[f"score_{name}_annealer_pretrained"] > found[f"score_{name}_random"]


def test_a_file_with_something_else_is_not_overwritten(
    scripts: Scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spaces"
    options = ["action=ansor", f"folder={folder}"]
    scripts("records", "first", *options, f"path={log(tmp_path, line(plain()))}")
    before = contents(folder)
    lines = [line(plain(), workload="new"), line(plain()), line(plain(rows=2))]
    sentence = refusal(capsys, scripts, "records", *options, f"path={log(tmp_path, *lines)}")
    assert ".csv exists and holds something else; remove it, or give another folder" in sentence
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("lines", "overrides", "words"),
    [
        ([line(plain()), line(plain())[:-30]], ["folder=new"], "log.json, line 2 is not JSON, or cut off"),
        ([], ["folder=new"], "log.json holds no records"),
        ([failed(plain())], ["folder=new"], "log.json: all records failed, there is nothing to find"),
        ([line(plain())], [], "action=ansor needs folder=..., where recorded spaces are put"),
        ([line(plain())], ["folder=log.json"], "log.json"),
        ([line(plain())], ["folder=new", "path=absent.json"], "absent.json"),
        ([line(plain())], ["folder=new", "path=."], "."),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, lines: list[str], overrides: list[str], words: str
) -> None:
    path = log(tmp_path, *lines)
    before = path.read_bytes()
    finished = run_script("records", tmp_path, "action=ansor", "path=log.json", *overrides)
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert words in finished.stderr
    assert not (tmp_path / "new").exists()
    assert path.read_bytes() == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
