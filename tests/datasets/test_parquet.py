from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.measure.measurement import FAILURE_KINDS, Failure, Measurement
from codegen.target import Target
from datasets.columns import METADATA_KEY, from_columns, to_columns
from datasets.parquet import file_hash, load_records, save_records
from datasets.record import CACHES, SCHEMA_VERSION, SOURCES, Record

MAX_BYTES_PER_RECORD = 100  # 30,000 records in 3 MB
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
float32s = st.floats(2**-40, 2**10, width=32)
times = st.lists(float32s, min_size=1, max_size=4).map(tuple)
failures = st.builds(Failure, st.sampled_from(FAILURE_KINDS), texts, texts)
targets = st.builds(
    Target,
    name=texts,
    cpu=texts,
    llvm_cpu=texts,
    llvm_features=texts,
    vector_lanes=st.sampled_from([4, 8, 16]),
    num_vector_registers=st.integers(16, 32),
    num_threads=st.integers(1, 4),
    l1_bytes=st.integers(1, 9),
    l2_bytes=st.integers(1, 9),
    l3_bytes=st.integers(1, 9),
)
measurements = st.one_of(
    st.builds(Measurement, times, st.none(), float32s, float32s, float32s, float32s),
    st.builds(Measurement, st.just(()), failures, float32s, float32s, float32s, float32s),
)
records = st.builds(
    Record,
    task=texts,
    operator=texts,
    parameters=st.dictionaries(texts, st.one_of(st.integers(-9, 9), st.booleans(), texts), max_size=2),
    program_hash=st.integers(0, 2**64 - 1).map("{:016x}".format),
    program_text=texts,
    target=targets,
    sketch=texts,
    knobs=st.dictionaries(texts, st.integers(-(2**31), 2**31 - 1), max_size=3),
    measurement=measurements,
    source=st.sampled_from(SOURCES),
    seed=st.integers(0, 2**63 - 1),
    trial=st.integers(0, 2**31 - 1),
    measured_at=st.datetimes().map(lambda time: time.isoformat(timespec="microseconds") + "+00:00"),
    code_version=texts,
    compiler=texts,
    cache=st.sampled_from(CACHES),
)


@given(st.lists(records, max_size=4))
def test_any_records_come_back_from_a_file(some: list[Record]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.parquet"
        save_records(some, path)
        found = load_records(path)
        assert list(Path(folder).iterdir()) == [path]
    assert sorted(map(repr, found)) == sorted(map(repr, (ordered(record) for record in some)))


@given(st.lists(records, max_size=4))
def test_columns_in_memory_keep_order(some: list[Record]) -> None:
    assert from_columns(to_columns(some)) == some


def test_times_lose_no_more_than_float32_does(tmp_path: Path, make_record) -> None:
    record = make_record(times_s=(0.1, 1 / 3))
    save_records([record], tmp_path / "r.parquet")
    [found] = load_records(tmp_path / "r.parquet")
    assert found.times_s == pytest.approx(record.times_s, rel=6e-8)
    assert found.digest == record.digest


def test_a_published_set_is_small(tmp_path: Path, target) -> None:
    rng = np.random.default_rng(0)
    some = [realistic(row, rng, target) for row in range(4_000)]
    path = tmp_path / "r.parquet"
    save_records(some, path)
    assert path.stat().st_size < MAX_BYTES_PER_RECORD * len(some)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, make_record, share: float) -> None:
    path = saved(tmp_path, make_record)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(path, "not a whole file of records")


def test_a_flipped_bit_is_refused(tmp_path: Path, make_record) -> None:
    path = saved(tmp_path, make_record)
    whole = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(4)
    whole[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    path.write_bytes(whole)
    assert_refused(path, "not a whole file of records")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"song": ["la"]}), path)
    assert_refused(path, "no records inside")


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path, make_record) -> None:
    columns = to_columns([make_record()])
    described = json.loads(columns.schema.metadata[METADATA_KEY]) | {"schema_version": 9}
    path = tmp_path / "r.parquet"
    pq.write_table(columns.replace_schema_metadata({METADATA_KEY: json.dumps(described)}), path)
    assert_refused(path, f"cannot be used: records of schema version 9.*up to {SCHEMA_VERSION}")


def test_a_file_of_the_first_schema_is_read_as_warm_and_of_an_unknown_compiler(
    tmp_path: Path, make_record
) -> None:
    columns = to_columns([make_record()])
    described = json.loads(columns.schema.metadata[METADATA_KEY]) | {"schema_version": 1}
    old = columns.drop_columns(["compiler", "cache", "unsteadiness"])
    pq.write_table(old.replace_schema_metadata({METADATA_KEY: json.dumps(described)}), tmp_path / "r.parquet")
    [found] = load_records(tmp_path / "r.parquet")
    assert (found.compiler, found.cache) == ("", "warm")
    assert found.digest == make_record().digest


def test_a_missing_column_is_named(tmp_path: Path, make_record) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(to_columns([make_record()]).drop_columns("seed"), path)
    assert_refused(path, "column seed is missing")


WRONG_VALUES: list[tuple[str, object, str]] = [
    ("task", 3, "task of row 1 is 3; there are 1"),
    ("target", -1, "target of row 1 is -1; there are 1"),
    ("layout", 7, "layout of row 1 is 7; there are 1"),
    ("seed", None, "column seed is empty in row 1"),
    ("times_s", None, "column times_s is empty in row 1"),
    ("times_s", [1e-3, -1e-3], "times must be positive and finite, row 1"),
    ("times_s", [float("nan")], "times must be positive and finite, row 1"),
    ("times_s", [float("inf")], "times must be positive and finite, row 1"),
    ("times_s", [None], "times must be positive and finite, row 1"),
    ("times_s", [], "a trial has either times or a failure, unlike row 1"),
    ("failure_kind", "compile", "a trial has either times or a failure, unlike row 1"),
    ("failure_kind", "bored", "failure_kind of row 1 is 'bored'; allowed: constraints, compile"),
    ("cache", "tepid", "cache of row 1 is 'tepid'; allowed: warm, flushed"),
    ("source", "rumour", "source of row 1 is 'rumour'; allowed: random"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG_VALUES)
def test_a_row_that_cannot_be_a_record_is_named(
    tmp_path: Path, make_record, name: str, value: object, words: str
) -> None:
    columns = to_columns([make_record(minute=minute) for minute in range(3)])
    values = columns.column(name).to_pylist()
    values[1] = value
    place = columns.schema.get_field_index(name)
    changed = columns.set_column(place, name, pa.array(values, columns.schema.field(name).type))
    pq.write_table(changed, tmp_path / "r.parquet")
    assert_refused(tmp_path / "r.parquet", re.escape(words))


@pytest.mark.parametrize(
    ("name", "kind"), [("task", pa.string()), ("knobs", pa.string()), ("seed", pa.float64())]
)
def test_a_column_of_another_type_is_refused(
    tmp_path: Path, make_record, name: str, kind: pa.DataType
) -> None:
    columns = to_columns([make_record()])
    value = {"task": "first", "knobs": "8", "seed": 0.5}[name]
    place = columns.schema.get_field_index(name)
    pq.write_table(columns.set_column(place, name, pa.array([value], kind)), tmp_path / "r.parquet")
    assert_refused(tmp_path / "r.parquet", "not a whole file of records")


def test_a_description_of_another_form_is_refused(tmp_path: Path, make_record) -> None:
    columns = to_columns([make_record()])
    pq.write_table(columns.replace_schema_metadata({METADATA_KEY: b"[1]"}), tmp_path / "r.parquet")
    assert_refused(tmp_path / "r.parquet", "not a whole file of records")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no record file .*absent\.parquet"):
        load_records(tmp_path / "absent.parquet")
    with pytest.raises(ValueError, match=r"cannot read .*absent\.parquet"):
        file_hash(tmp_path / "absent.parquet")


def test_the_hash_of_a_file_follows_the_contents(tmp_path: Path, make_record) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    save_records([make_record()], one)
    save_records([make_record()], same)
    save_records([make_record(minute=1)], other)
    assert file_hash(one) == file_hash(same) != file_hash(other)
    assert len(file_hash(one)) == 64


def ordered(record: Record) -> Record:
    """Mappings in the order in which they are read back."""
    parameters = {name: record.parameters[name] for name in sorted(record.parameters)}
    return replace(record, parameters=parameters, knobs={k: record.knobs[k] for k in sorted(record.knobs)})


def realistic(row: int, rng: np.random.Generator, target: Target) -> Record:
    median_s = float(rng.lognormal(-7, 1))
    return Record(
        task=f"task_{row % 80}",
        operator="conv2d",
        parameters={"height": row % 80},
        program_hash=f"{row % 80:016x}",
        program_text="a definition of some length\n" * 20,
        target=target,
        sketch=f"sketch_{rng.integers(4)}",
        knobs={f"knob_{number}": int(2 ** rng.integers(8)) for number in range(12)},
        measurement=Measurement(
            tuple((median_s * (1 + 0.02 * rng.random(7))).tolist()), None, *rng.random(3).tolist()
        ),
        source="random",
        seed=0,
        trial=row // 80,
        measured_at=f"2025-01-31T12:{row // 60 % 60:02}:{row % 60:02}.{rng.integers(10**6):06}+00:00",
        code_version="v1-21-gabcdef0",
    )


def saved(folder: Path, make_record) -> Path:
    path = folder / "records.parquet"
    save_records([make_record(tile, (tile * 1e-3,), minute=tile % 60) for tile in range(1, 300)], path)
    return path


def assert_refused(path: Path, reason: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=reason) as caught:
        load_records(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
