from __future__ import annotations

import gzip
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.ansor import AnsorSpace, ansor_table, read_ansor
from datasets.recorded import RecordedTable, csv_text
from datasets.recorded_files import load_recorded, space_name
from tests.datasets.ansor_log import TARGET, TIME_S, WORKLOAD, cached, every_kind, failed, line, plain


def read(folder: Path, *lines: str) -> list[AnsorSpace]:
    path = folder / "log.json"
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return read_ansor(path)


def table(folder: Path, *lines: str) -> RecordedTable:
    (space,) = read(folder, *lines)
    return ansor_table(space)


def test_knobs_are_what_the_steps_of_a_sketch_choose(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        line(cached()),
        line(cached(rows=(2, 32, 8)), [0.003, 0.001, 0.004]),
        line(cached(unroll=0, num_fused=2)),
        line(cached(loop=1)),
    )
    # Three knobs go with others: length 1 with length 0, and where stage 3 is vectorised with what is fused.
    assert found.knobs == ("split_2_0_0", "at_2_0_loop", "fuse_3_0")
    assert [tuple(found.row(row).configuration.values()) for row in range(4)] == [
        (1, 3, 4),
        (2, 3, 4),
        (1, 3, 2),
        (1, 1, 4),
    ]
    assert found.row(1).time_s == 0.003
    assert found.costs_s.tolist() == [0.5] * 4


def test_a_knob_that_goes_with_another_one_only_at_times_stays(tmp_path: Path) -> None:
    found = table(tmp_path, line(cached()), line(cached(unroll=0, num_fused=2)), line(cached(unroll=0)))
    assert found.knobs == ("fuse_3_0", "pragma_2_0")
    assert found.values == ((2, 4), (0, 64))


def test_a_sketch_is_a_knob_and_what_another_one_lacks_is_neutral(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        line(cached()),
        line(cached(unroll=512)),
        line(plain()),
        line(plain(rows=4)),
        line(plain(annotation=1)),
    )
    assert found.knobs == ("sketch", "split_2_0_0", "pragma_2_0", "annotation_2_0")
    one, other = found.values[0]
    assert all(re.fullmatch("s[0-9a-f]{10}", str(name)) for name in (one, other))
    rows = [tuple(found.row(row).configuration.values())[1:] for row in range(5)]
    assert rows == [
        (1, 64, "vectorize"),
        (1, 512, "vectorize"),
        (8, 0, "parallel"),
        (4, 0, "parallel"),
        (8, 0, "unroll"),
    ]
    lacking = table(tmp_path, line(cached()), line(every_kind()), line(cached(rows=(2, 4, 8))))
    assert lacking.knobs == ("sketch", "split_2_0_0")
    assert lacking.values[1] == (0, 1, 2)


def test_the_extent_of_a_split_is_no_choice_and_makes_no_sketch(tmp_path: Path) -> None:
    steps = [["SP", 2, 0, 16, [4], 1], ["SP", 2, 0, 0, [2], 1]]
    found = table(tmp_path, line(steps[:1]), line(steps[1:]))
    assert found.knobs == ("split_2_0_0",)


def test_a_stage_without_loops_may_fuse_none(tmp_path: Path) -> None:
    fused: list[list[int]] = [[], [0], [1], [1, 2]]
    found = table(tmp_path, *(line([["FU", 2, loops]]) for loops in fused))
    assert found.knobs == ("fuse_2_0", "fuse_2_0_loop")
    assert found.values == ((0, 1, 2), (-1, 0, 1))


def test_a_sketch_has_one_name_in_all_logs(tmp_path: Path) -> None:
    first = table(tmp_path, line(cached()), line(plain()))
    again = table(tmp_path, line([]), line(cached(rows=(4, 4, 4))))
    assert set(first.values[0]) & set(again.values[0]) == {first.row(0).configuration["sketch"]}


def test_one_knob_stays_where_nothing_varies(tmp_path: Path) -> None:
    found = table(tmp_path, line(cached()))
    assert found.knobs == ("sketch",)
    assert len(found) == 1
    assert table(tmp_path, line([])).knobs == ("sketch",)


def test_failures_are_told_by_number_and_their_cost_is_no_time(tmp_path: Path) -> None:
    rows = [failed(plain(rows=error), error) for error in range(1, 9)]
    found = table(tmp_path, line(plain(rows=16)), *rows, line(plain(rows=32), [TIME_S, 1e10]))
    kinds = ["constraints", "compile", "compile", "runtime", "correctness", "timeout", "timeout", "runtime"]
    assert found.failures == (None, *kinds, "runtime")
    assert found.times_s[0] == TIME_S
    assert all(math.isnan(time_s) for time_s in found.times_s[1:])


def test_of_a_choice_measured_again_successes_count_by_their_median(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        failed(plain(), 7, all_cost=10.0),
        line(plain(), [0.001], all_cost=1.0),
        line(plain(), [0.009], all_cost=3.0),
        line(plain(), [0.002], all_cost=2.0),
        failed(plain(rows=2), 6, all_cost=4.0),
        failed(plain(rows=2), 2, all_cost=6.0),
    )
    assert len(found) == 2
    assert found.row(0).time_s == 0.002
    assert found.failures == (None, "timeout")
    assert found.costs_s.tolist() == [2.0, 5.0]


def test_a_log_holds_spaces_of_many_workloads_and_targets(tmp_path: Path) -> None:
    tenset = '["8a830aeb28cc45b189200eb204fd8825", 8, 32]'
    spaces = read(
        tmp_path,
        "# a comment",
        line(plain(), workload=tenset),
        "",
        line(plain(), target="cuda -keys=cuda,gpu -arch=sm_80"),
        line(plain(rows=2), workload=tenset),
        failed(plain()),
    )
    assert [(space.workload, space.num_records, space.num_failed) for space in spaces] == [
        (tenset, 2, 0),
        (WORKLOAD, 1, 0),
        (WORKLOAD, 1, 1),
    ]
    assert re.fullmatch("8a830aeb_8_32_[0-9a-f]{10}", spaces[0].kernel)
    assert re.fullmatch("cuda_sm_80_[0-9a-f]{10}", spaces[1].device)
    assert re.fullmatch("llvm_core-avx2_e5-2673_[0-9a-f]{10}", spaces[2].device)
    assert spaces[1].kernel == spaces[2].kernel != spaces[0].kernel
    with pytest.raises(ValueError, match="all 1 configurations failed"):
        ansor_table(spaces[2])


@pytest.mark.parametrize("version", ["v0.1", "v0.5"])
def test_older_logs_say_less_of_a_workload(tmp_path: Path, version: str) -> None:
    text = line(plain(), version=version).replace(', [16, 64, 64, 0, 0, 0, 0, 0], "", 1, []]', "]")
    assert len(table(tmp_path, text)) == 1


def test_a_log_may_be_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(line(plain()).encode()))
    assert read_ansor(path)[0].workload == WORKLOAD
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"log.json.gz is damaged or cut off after line 0"):
        read_ansor(path)


DEEP = "[" * 100_000 + "]" * 100_000
MISTAKES = [
    (line(plain())[:-20], "log.json, line 2 is not JSON, or cut off"),
    (DEEP, "log.json, line 2 is nested too deeply"),
    (line(plain()).replace("[[], [", f"[[], [{DEEP}, "), "log.json, line 2 is nested too deeply"),
    ("9" * 10_000, "log.json, line 2 is not JSON"),
    ("[]", "line 2: it is no record of auto_scheduler"),
    ('{"input": ["llvm", "matmul", []], "result": [[0.1], 0, 1, 2], "version": 0.2}', "it is no record of"),
    (
        line(plain(), version="v0.7"),
        'line 2: v must be one of v0.1, v0.2, v0.3, v0.4, v0.5, v0.6, got "v0.7"',
    ),
    (line(plain(), version=0.6), "line 2: it is no record of auto_scheduler"),
    (line(plain(), error="4"), "line 2: it is no record of auto_scheduler"),
    (line(plain(), error=9), "line 2: an error must be a number from 0 to 8, got 9"),
    (line(plain(), []), "line 2: without an error costs must be from 1e-15 to 1e+15 s, got []"),
    (line(plain(), [math.nan]), "costs must be from 1e-15 to 1e+15 s, got [nan]"),
    (line(plain(), [0.0, 1.0]), "costs must be from 1e-15 to 1e+15 s, got [0.0, 1.0]"),
    (line(plain(), [5e-324]), "costs must be from 1e-15 to 1e+15 s, got [5e-324]"),
    (line(plain(), [10**400]), "a cost must be a number, got 1000"),
    (line(plain(), [[0.1]]), "a cost must be a number, got a list"),
    (line(plain(), all_cost=math.inf), "all_cost must be from 0 to 1e+15 s, got inf"),
    (line(plain(), all_cost=1e308), "all_cost must be from 0 to 1e+15 s, got 1e+308"),
    (line(plain(), all_cost=-1), "all_cost must be from 0 to 1e+15 s, got -1.0"),
    (line(plain(), all_cost=None), "all_cost must be a number, got null"),
    (line([["SP", 2, 0, 512, [2**31], 1]]), "line 2: step 0: numbers must be below 2**31"),
    (
        line([["CI", 1], ["SP", 2, 0, 512, 8, 1]]),
        "step 1: after SP there must be a whole number, a whole number",
    ),
    (line([["SP", 2, 0, 512, [1.5], 1]]), "step 0: after SP there must be"),
    (line([["SP", 2, 0, 512, [True], 1]]), "step 0: after SP there must be"),
    (line([["CI"]]), "step 0: after CI there must be a whole number"),
    (line([["XX", 2]]), "step 0: it must be a list that begins with one of AN, FU, PR, RE, SP, FSP, FFSP"),
    (line([[]]), "got a list"),
    (line([{}]), "got an object"),
    (line([[[], 2]]), "got a list"),
    (line([["AN", 2, 0, 12]]), "step 0: an annotation must be in 0 to 11, got 12"),
    (line([["FU", 2, [0, 2]]]), "step 0: loops to fuse must be next to each other"),
]


@pytest.mark.parametrize(("bad", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_line_that_is_no_record_is_named(tmp_path: Path, bad: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        read(tmp_path, line(plain()), bad, line(plain()))
    assert str(tmp_path / "log.json, line 2") in str(error.value)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lines", [[], ["# nothing", ""]])
def test_a_log_without_records_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"log.json holds no records"):
        read(tmp_path, *lines)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_bytes(line(plain()).encode() + b"\n\xff\xfe\n")
    with pytest.raises(ValueError, match=r"log.json is damaged or cut off after line"):
        read_ansor(tmp_path / "log.json")


SCHEDULES = st.one_of(
    st.builds(
        cached,
        st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 3),
        st.sampled_from([0, 16, 64, 512]),
        st.integers(1, 5),
        st.integers(0, 3),
    ),
    st.builds(plain, st.integers(1, 512), st.integers(0, 11)),
    st.just(every_kind()),
    st.just([]),
)
TIMES_S = st.floats(1e-7, 1e3)


@given(
    measured=st.dictionaries(SCHEDULES.map(json.dumps), TIMES_S | st.integers(1, 8), min_size=1, max_size=12)
)
def test_what_is_read_has_the_same_choices_failures_and_best(
    tmp_path_factory: pytest.TempPathFactory, measured: dict[str, float | int]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    lines = [
        failed(json.loads(steps), outcome) if isinstance(outcome, int) else line(json.loads(steps), [outcome])
        for steps, outcome in measured.items()
    ]
    times_s = [outcome for outcome in measured.values() if isinstance(outcome, float)]
    (space,) = read(folder, *lines, *reversed(lines))
    assert (space.num_records, space.num_failed) == (
        2 * len(measured),
        2 * (len(measured) - len(times_s)),
    )
    if not times_s:
        return
    found = ansor_table(space)
    assert len(found) == len(measured)
    path = folder / f"{space.kernel}__{space.device}.csv"
    path.write_text(csv_text(found))
    again = load_recorded(path)
    assert (again.kernel, again.device, again.knobs) == (found.kernel, found.device, found.knobs)
    assert (again.values, again.failures) == (found.values, found.failures)
    assert (again.positions == found.positions).all()
    best = [time_s for time_s in again.times_s.tolist() if not math.isnan(time_s)]
    assert sorted(best) == pytest.approx(sorted(times_s))


@given(workload=st.text(), target=st.text())
def test_names_of_files_are_safe_whatever_a_log_says(workload: str, target: str) -> None:
    space = AnsorSpace(workload, target)
    name = f"{space.kernel}__{space.device}.csv"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,130}\.csv", name)
    assert name[0] not in "-_"
    assert space_name(Path(name)).partition("__") == (space.kernel, "__", space.device)


def test_long_names_are_shortened_and_others_told_apart() -> None:
    spaces = [AnsorSpace(word, TARGET) for word in ("a" * 1000, "a" * 1001, "../../a", "..__a", "é", "e")]
    assert len({space.kernel for space in spaces}) == len(spaces)
    assert max(len(space.kernel) for space in spaces) < 60
