from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.ir.affine import variable
from codegen.ir.expression import Axis, Load, Program, Stage, Tensor
from codegen.ir.text import program_text
from codegen.measure.measurement import Measurement
from datasets.record import (
    candidate_key,
    target_from_json,
    target_to_json,
    text_hash,
    utc_now,
)


def test_the_order_of_knobs_does_not_matter() -> None:
    assert candidate_key("s", {"a": 1, "b": 2}) == candidate_key("s", {"b": 2, "a": 1})
    assert candidate_key("s", {"a": 1, "b": 2}) != candidate_key("s", {"a": 2, "b": 1})


def test_trials_differ_in_their_digests_but_not_candidates_in_their_keys(make_record) -> None:
    first = make_record(minute=0)
    for other in (
        make_record(minute=1),
        make_record(times_s=(1e-3,)),
        make_record(failure="timeout"),
        make_record(trial=1),
        make_record(source="repeat"),
        make_record(cache="flushed"),
        make_record(compiler="LLVM 22.1.0"),
    ):
        assert other.digest != first.digest
        assert other.candidate_key == first.candidate_key


def test_a_record_of_the_first_schema_keeps_its_digest(make_record) -> None:
    assert make_record().digest == "bc967ac92e6c06271c88ba95a540cc5f"


def test_a_digest_survives_rounding_to_float32(make_record) -> None:
    record = make_record(times_s=(0.1, 0.2))
    rounded = Measurement(tuple(float(np.float32(time_s)) for time_s in record.times_s))
    assert rounded.times_s != record.times_s
    assert replace(record, measurement=rounded).digest == record.digest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "guessed"),
        ("cache", "cold"),
        ("measured_at", "2025-01-31T12:00:00"),
        ("measured_at", "2025-01-31T12:00:00.000000+01:00"),
        ("knobs", {"tile": 1.5}),
        ("knobs", {"tile": np.int64(3)}),
    ],
)
def test_a_bad_field_is_named(make_record, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field.rstrip("s")[:4]):
        make_record(**{field: value})


def test_now_is_a_valid_time_of_measurement(make_record) -> None:
    assert make_record(measured_at=utc_now()).latency_s == 2e-3


def test_a_target_survives_its_text_form(target) -> None:
    assert target_from_json(target_to_json(target)) == target
    with pytest.raises(ValueError, match="not the description of a target"):
        target_from_json('{"name": "half a target"}')


def test_the_hash_of_a_text_is_the_hash_of_its_program() -> None:
    stage = Stage(Tensor("y", (4,)), (Axis("i", 4),), Load("x", (variable("i"),)))
    program = Program("copy", (Tensor("x", (4,)),), (stage,))
    assert text_hash(program_text(program)) == program.hash
