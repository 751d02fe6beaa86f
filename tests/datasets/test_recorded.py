from __future__ import annotations

import gzip
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.kernel_tuner import read_kernel_tuner, write_kernel_tuner
from datasets.recorded import RecordedRow, RecordedTable, read_csv, recorded_table
from datasets.recorded_files import load_recorded, recorded_files
from datasets.t4_tables import write_t4

CSV = """block,kind,status,time_ms,compile_ms,benchmark_ms,times_ms
16,b,ok,2.5,100,80,2.4;2.6
4,a,CompilationFailedConfig,,900,0,
16,a,ok,1.5,110,50,1.5
16,a,ok,9.5,110,50,9.5
"""


def table() -> RecordedTable:
    rows = [
        RecordedRow({"block": 16, "kind": "b"}, 2.5e-3, None, 0.1, 0.08),
        RecordedRow({"block": 4, "kind": "a"}, None, "compile", 0.9, 0.0),
        RecordedRow({"block": 16, "kind": "a"}, 1.5e-3, None, 0.11, 0.05),
    ]
    return recorded_table("gemm", "A100", ["block", "kind"], rows)


def same(left: RecordedTable, right: RecordedTable) -> bool:
    np.testing.assert_array_equal(left.positions, right.positions)
    np.testing.assert_allclose(left.times_s, right.times_s, rtol=1e-12)
    np.testing.assert_allclose(left.costs_s, right.costs_s, rtol=1e-12)
    return (left.knobs, left.values, left.failures) == (right.knobs, right.values, right.failures)


def test_csv_holds_times_failures_and_costs_and_of_repeats_the_first_counts(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "gemm__A100.csv", tmp_path / "gemm__A100.csv.gz"
    plain.write_text(CSV)
    zipped.write_bytes(gzip.compress(CSV.encode()))
    for path in (plain, zipped):
        found = load_recorded(path)
        assert same(found, table())
        assert (found.kernel, found.device) == ("gemm", "A100")
    assert found.values == ((4, 16), ("a", "b"))
    assert found.row(1) == RecordedRow({"block": 4, "kind": "a"}, None, "compile", 0.9, 0.0)


@pytest.mark.parametrize("text", ["\ufeff" + CSV, CSV + "\n", CSV.replace("\n", "\r\n") + "\r\n\r\n"])
def test_csv_as_spreadsheets_and_editors_leave_it_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gemm__A100.csv"
    path.write_bytes(text.encode())
    found = load_recorded(path)
    assert found.knobs == ("block", "kind")
    assert same(found, table())


def test_json_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    write_t4(table(), tmp_path / "t4.json")
    (tmp_path / "t4.json").write_text("\ufeff" + (tmp_path / "t4.json").read_text())
    assert same(load_recorded(tmp_path / "t4.json"), table())


def test_words_of_other_tuners_say_how_a_configuration_failed(tmp_path: Path) -> None:
    words = [
        "Ok",
        "ValidationFailed",
        "DeviceLimitsExceeded",
        "CompilationFailed",
        "timeout",
        "InvalidConfig",
    ]
    lines = [f"{place},{word},{'' if place else 1.0}" for place, word in enumerate(words)]
    (tmp_path / "a.csv").write_text("\n".join(["x,status,time_ms", *lines]))
    kinds = (None, "correctness", "constraints", "compile", "timeout", "constraints")
    assert load_recorded(tmp_path / "a.csv").failures == kinds


def test_what_is_written_for_others_is_read_again(tmp_path: Path) -> None:
    write_kernel_tuner(table(), tmp_path / "cache.json")
    write_t4(table(), tmp_path / "t4.json")
    for name in ("cache.json", "t4.json"):
        found = load_recorded(tmp_path / name)
        assert same(found, table())
        assert (found.kernel, found.device) == ("gemm", "A100")


def test_a_cache_that_is_still_open_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    write_kernel_tuner(table(), path)
    path.write_text(path.read_text().rstrip().removesuffix("}\n}") + ",")
    assert same(load_recorded(path), table())


def test_kernel_tuner_keeps_the_words_and_numbers_it_writes_for_failures(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    entries = [
        {"x": 1, "time": 2.0, "compile_time": 3.0, "verification_time": 1.0, "benchmark_time": 4.0},
        {"x": 2, "time": "InvalidConfig"},
        {"x": 3, "time": 1e20},
        {"x": 4, "__error__": "RuntimeFailedConfig"},
        {"x": 5, "time": "ErrorConfig"},
    ]
    path.write_text(json.dumps(cache(entries)))
    found = read_kernel_tuner(path)
    assert found.failures == (None, "constraints", "runtime", "runtime", "runtime")
    assert found.costs_s[0] == 8e-3
    assert math.isnan(found.times_s[1])


def cache(entries: list[dict[str, Any]]) -> dict[str, Any]:
    keyed = {str(entry["x"]): entry for entry in entries}
    return {"device_name": "A", "kernel_name": "k", "tune_params_keys": ["x"], "cache": keyed}


@pytest.mark.parametrize("objective", ["GFLOP/s", "energy", ["time", "energy"]])
def test_a_cache_tuned_for_something_else_is_read_by_its_times(tmp_path: Path, objective: object) -> None:
    path = tmp_path / "cache.json"
    entries = [
        {"x": 1, "time": 2.0, "GFLOP/s": 100.0, "energy": 3.0},
        {"x": 2, "time": 1.0, "GFLOP/s": 200.0, "energy": 4.0},
        {"x": 3, "GFLOP/s": "InvalidConfig", "energy": "InvalidConfig"},
        {"x": 4, "time": 0.5, "GFLOP/s": 400.0, "energy": 5.0, "__error__": "CompilationFailedConfig"},
    ]
    path.write_text(json.dumps(cache(entries) | {"objective": objective}))
    found = read_kernel_tuner(path)
    np.testing.assert_array_equal(found.times_s, [2e-3, 1e-3, math.nan, math.nan])
    assert found.failures == (None, None, "constraints", "compile")


def test_t4_tuned_for_something_else_is_read_by_its_times(tmp_path: Path) -> None:
    for other in (SPEED, ENERGY):
        (tmp_path / "a.json").write_text(t4(objectives=[other["name"]], measurements=[other, MEASURED]))
        assert load_recorded(tmp_path / "a.json").times_s.tolist() == [pytest.approx(4.1e-3)]
    latency = {"name": "latency", "value": 7.0, "unit": "us"}
    (tmp_path / "a.json").write_text(t4(objectives=["latency"], measurements=[MEASURED, latency]))
    assert load_recorded(tmp_path / "a.json").times_s.tolist() == [pytest.approx(7e-6)]


def test_t4_of_kernel_tuner_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hub_T4.json"
    results = [
        {
            "configuration": {"x": 1},
            "objectives": ["time"],
            "times": {"compilation": 30.0, "benchmark": 12.0, "runtimes": [4.0, 4.2]},
            "invalidity": "correct",
            "measurements": [{"name": "power", "value": 90.0}, {"name": "time", "value": 4.1, "unit": "ms"}],
        },
        {"configuration": {"x": 2}, "objectives": ["time"], "times": {}, "invalidity": "compile"},
    ]
    path.write_text(json.dumps({"results": results, "metadata": {"timeunit": "milliseconds"}}))
    found = load_recorded(path)
    assert found.times_s[0] == pytest.approx(4.1e-3)
    assert found.costs_s[0] == pytest.approx(42e-3)
    assert found.failures == (None, "compile")


NAMES_IN_T4 = {"compile_time": "compilation", "benchmark_time": "benchmark"}
NAMES_IN_T4 |= {"verification_time": "validation", "times": "runtimes"}


@pytest.mark.parametrize(
    ("costs", "cost_ms"),
    [
        ({"compile_time": 30.0, "benchmark_time": 12.0, "verification_time": 5.0, "times": [4.0]}, 47.0),
        ({"compile_time": 30.0, "benchmark_time": 0, "verification_time": 0, "times": [4.0]}, 30.0),
        ({"compile_time": 30.0, "verification_time": 5.0, "times": [4.0, 4.2]}, 43.2),
        ({}, 0.0),
    ],
)
def test_a_trial_costs_the_same_in_a_cache_and_in_t4(
    tmp_path: Path, costs: dict[str, Any], cost_ms: float
) -> None:
    (tmp_path / "cache.json").write_text(json.dumps(cache([{"x": 1, "time": 4.1, **costs}])))
    spent = {NAMES_IN_T4[name]: value for name, value in costs.items()}
    document = json.loads(t4(times=spent | {"framework": 9.0, "search_algorithm": 9.0}))
    for unit in ("milliseconds", "miliseconds"):
        (tmp_path / "t4.json").write_text(json.dumps(document | {"metadata": {"timeunit": unit}}))
        for name in ("cache.json", "t4.json"):
            assert load_recorded(tmp_path / name).costs_s[0] == pytest.approx(cost_ms * 1e-3)


MEASURED = {"name": "time", "value": 4.1, "unit": "ms"}
SPEED = {"name": "GFLOP/s", "value": 250.0, "unit": ""}
ENERGY = {"name": "energy", "value": 3.0, "unit": "J"}


def t4(**parts: Any) -> str:
    """A file of one result, some parts of which are others."""
    result = {"configuration": {"x": 1}, "objectives": ["time"], "measurements": [MEASURED]}
    return json.dumps({"results": [result | parts]})


MISTAKES: list[tuple[str, str, str]] = [
    ("a.csv", "", "needs columns status and time_ms"),
    ("a.csv", "x,status,time_ms\n1,ok\n", "line 2: 2 cells, the header has 3"),
    ("a.csv", "x,status,time_ms\n1,ok,soon\n", "line 2: could not convert"),
    ("a.csv", "x,status,time_ms\n1,ok,-1\n", "has the time"),
    ("a.csv", "x,status,time_ms\n1,ok,nan\n", "has the time nan s"),
    (
        "a.csv",
        "x,status,time_ms\n1,fine,1\n",
        "line 2: a status must be one of ok, correct, CompilationFailedC",
    ),
    ("a.csv", "x,status,time_ms\n1,ok,1\n\n2,fine,1\n", "line 4: a status must be one of"),
    ("a.json", t4(invalidity="broken"), "result 1: a status must be one of"),
    ("a.csv", "x,status,time_ms\n", "1 knobs and 0 configurations"),
    ("a.csv", "x,status,time_ms\n1,RuntimeFailedConfig,\n", "all 1 configurations failed"),
    ("a.csv", "status,time_ms\nok,1\n", "0 knobs"),
    ("a.json", "", "is not JSON, or cut off"),
    ("a.json", '{"cache": {"1": {"x": 1, "ti', "is not JSON, or cut off"),
    ("a.json", "[1, 2]", "a.json holds neither results of T4 nor a cache of Kernel Tuner"),
    ("a.json", "null", "holds neither results of T4 nor a cache of Kernel Tuner"),
    ("a.json", "{}", "it must have results, a list"),
    ("a.json", '{"results": null}', "it must have results, a list"),
    ("a.json", '{"results": []}', "0 configurations"),
    ("a.json", '{"results": [null]}', "a.json, result 1: it must have configuration, an object"),
    ("a.json", t4(objectives=[]), "a.json, result 1: it must have exactly one objective, got 0"),
    ("a.json", t4(objectives=["time", "energy"]), "result 1: it must have exactly one objective, got 2"),
    ("a.json", t4(objectives="time"), "it must have objectives, a list"),
    ("a.json", t4(objectives=["energy"]), 'one of its measurements must be named "energy", got 0'),
    ("a.json", t4(measurements=[MEASURED, MEASURED]), 'must be named "time", got 2'),
    ("a.json", t4(measurements=["time"]), 'must be named "time", got 0'),
    (
        "a.json",
        t4(measurements=[MEASURED | {"value": [1, 2]}]),
        'value of "time" must be a number, got a list',
    ),
    ("a.json", t4(times={"benchmark": "long"}), 'benchmark must be a number, got "long"'),
    ("a.json", t4(times={"runtimes": 4}), "runtimes must be a list, got 4"),
    ("a.json", '{"results": [], "metadata": [1]}', "metadata must be an object, got a list"),
    ("a.json", '{"cache": {}}', "is no cache of Kernel Tuner: it must have tune_params_keys, a list"),
    (
        "a.json",
        '{"cache": [1], "tune_params_keys": [], "kernel_name": "k", "device_name": "A"}',
        "cache, an object",
    ),
    ("a.json", json.dumps(cache([]) | {"cache": {"1": 7}}), "configuration 1: it must be an object, got 7"),
    ("a.json", json.dumps(cache([]) | {"cache": {"1": {}}}), "configuration 1: the knobs x are missing"),
    ("a.json", "[" * 100_000, "a.json is nested too deeply"),
    ("a.json", '{"cache": ' * 100_000, "a.json is nested too deeply"),
    ("a.json", '{"cache": ' + "9" * 5_000, "a.json is not JSON, or cut off"),
    ("a.json", json.dumps(cache([])), "1 knobs and 0 configurations"),
    ("a.json", json.dumps(cache([{"x": 1, "time": "InvalidConfig"}])), "all 1 configurations failed"),
    ("a.json", json.dumps(cache([{"x": 1}])), "a.json, configuration 1: it has no time"),
    ("a.json", json.dumps(cache([{"x": [1], "time": 1.0}])), "knob x has a list as a value"),
    ("a.csv.gz", "not zipped", "is damaged or cut off"),
    ("a.csv", "x,x,status,time_ms\n1,2,ok,1\n", "knobs need names of their own, got x, x"),
    ("a.csv", "x,status,time_ms\n" + "9" * 200_000 + ",ok,1\n", "is no CSV: field larger"),
    ("a.csv", f"x,status,time_ms\n{10**30},ok,1\n", "knob x has the value 1000000"),
    ("a.csv", "x,status,time_ms,compile_ms\n1,ok,1,nan\n", "compiling {'x': 1} took nan s"),
    ("a.csv", "x,status,time_ms,benchmark_ms\n1,ok,1,-5\n", "benchmarking {'x': 1} took -0.005 s"),
    ("a.json", "5", "holds neither results of T4 nor a cache of Kernel Tuner"),
    (
        "a.json",
        json.dumps(cache([{"x": 1, "time": 1.0, "compile_time": 10**400}])),
        "compile_time must be a n",
    ),
    ("a.json", json.dumps(cache([{"x": 1, "time": [1.0]}])), "time must be a number, got a list"),
    ("a.json", json.dumps(cache([{"x": 10**400, "time": 1.0}])), "numbers must be below 2**63"),
    ("a.json", json.dumps(cache([{"x": math.nan, "time": 1.0}])), "knob x has the value nan"),
    ("a.json", json.dumps(cache([]) | {"tune_params_keys": 5}), "it must have tune_params_keys, a list"),
    ("a.json", '{"results": [], "metadata": {"time_unit": "weeks"}}', "must be one of s, seconds, ms"),
    ("a.json", t4(measurements=[MEASURED | {"unit": "fortnights"}]), 'got "fortnights"'),
    ("a.json", t4(measurements=[MEASURED | {"unit": ["ms"]}]), "got a list"),
    ("a.json", t4(objectives=["GFLOP/s"], measurements=[SPEED]), 'objective "GFLOP/s" has no unit of time'),
    ("a.json", t4(objectives=["energy"], measurements=[ENERGY]), 'must be named "time", got 0'),
    (
        "a.json",
        json.dumps(cache([{"x": 1, "GFLOP/s": 9.0}]) | {"objective": "GFLOP/s"}),
        "configuration 1: it has no time, which a space needs also where the objective is GFLOP/s",
    ),
]


@pytest.mark.parametrize(("name", "text", "words"), MISTAKES)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        load_recorded(tmp_path / name)


def test_a_file_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress(CSV.encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.csv\.gz is damaged or cut off"):
        load_recorded(tmp_path / "a.csv.gz")


def test_a_folder_without_spaces_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no recorded spaces"):
        recorded_files(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        recorded_files(tmp_path / "absent")


def test_t4_that_names_no_kernel_and_device_goes_by_its_file_as_csv_does(tmp_path: Path) -> None:
    (tmp_path / "gemm__A100.json").write_text(t4())
    found = load_recorded(tmp_path / "gemm__A100.json")
    assert (found.kernel, found.device) == ("gemm", "A100")
    write_t4(table(), tmp_path / "other__H100.json")
    found = load_recorded(tmp_path / "other__H100.json")
    assert (found.kernel, found.device) == ("gemm", "A100")


def test_a_hub_has_a_folder_for_each_kernel_with_a_file_for_each_device(tmp_path: Path) -> None:
    for name in ("gemm/A100.json", "gemm/A100_T4.json", "gemm/W6600_T4.json", "conv/A100-results.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(t4())
    (tmp_path / "conv" / "A100-metadata.json").write_text("{}")
    (tmp_path / "conv" / "notes.txt").write_text("")
    files = recorded_files(tmp_path)
    found = {name: path.name for name, path in files.items()}
    assert found == {
        "conv__A100": "A100-results.json",
        "gemm__A100": "A100.json",  # that in T4 is the same space
        "gemm__W6600": "W6600_T4.json",
    }
    space = load_recorded(files["gemm__W6600"], "gemm__W6600")
    assert (space.kernel, space.device) == ("gemm", "W6600")
    (tmp_path / "conv__A6000.csv").write_text(CSV)
    assert list(recorded_files(tmp_path)) == ["conv__A6000"]  # files of the folder itself come first


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("gemm.A100.csv", "gemm.H100.csv"):
        (tmp_path / name).write_text(CSV)
    with pytest.raises(ValueError, match=r"gemm\.A100\.csv and gemm\.H100\.csv in .* have one name, gemm"):
        recorded_files(tmp_path)


def test_rows_must_agree() -> None:
    with pytest.raises(ValueError, match=r"has the knobs \['y'\], not \['x'\]"):
        recorded_table("k", "d", ["x"], [RecordedRow({"y": 1}, 1.0)])
    with pytest.raises(ValueError, match="needs either a time or a failure"):
        recorded_table("k", "d", ["x"], [RecordedRow({"x": 1}, None)])


@pytest.mark.skipif("LOOPRANK_RECORDED" not in os.environ, reason="no recorded spaces at hand")
def test_every_published_space_is_read_as_its_index_says() -> None:
    folder = Path(os.environ["LOOPRANK_RECORDED"])
    index = {entry["file"]: entry for entry in json.loads((folder / "index.json").read_text())}
    for path in recorded_files(folder).values():
        entry, found = index[path.name], load_recorded(path)
        assert (len(found), list(found.knobs)) == (entry["rows"], entry["param_names"])
        assert sum(failure is None for failure in found.failures) == entry["valid"]
        assert np.nanmin(found.times_s) * 1e3 == pytest.approx(entry["best_ms"], rel=1e-4)


def test_read_csv_takes_names(tmp_path: Path) -> None:
    (tmp_path / "any.csv").write_text(CSV)
    assert read_csv(tmp_path / "any.csv", "gemm", "H100").device == "H100"
